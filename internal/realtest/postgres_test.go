package realtest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// postgres is a client of a PostgreSQL server: as much of its protocol as it takes.
type postgres struct {
	port, n int
	conn    net.Conn
	r       *bufio.Reader
}

func dialPostgres(port, n int) (*postgres, error) {
	c := &postgres{port: port, n: n}
	return c, c.dial()
}

func (c *postgres) dial() error {
	var err error
	if c.conn, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", c.port)); err != nil {
		return err
	}
	c.r = bufio.NewReader(c.conn)
	start := binary.BigEndian.AppendUint32(nil, 3<<16)
	start = append(start, "user\x00postgres\x00database\x00postgres\x00\x00"...)
	if _, err := c.conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(4+len(start))),
		start...)); err != nil {
		return err
	}
	_, err = c.rows()
	return err
}

func (c *postgres) close() {
	_, _ = c.conn.Write([]byte{'X', 0, 0, 0, 4})
	c.conn.Close()
}

// The bank of the test: money moves between its accounts, and none is ever made or lost.
const (
	accounts = 100
	money    = accounts * 1000
	makeBank = `CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL);
INSERT INTO accounts SELECT i, 1000 FROM generate_series(0, 99) i;
CREATE TABLE history (client int, request int, amount int)`
)

// ask moves money, and has a sum and a text made.
func (c *postgres) ask(i int) error {
	if i%50 == 0 { // another process of the server
		c.close()
		if err := c.dial(); err != nil {
			return err
		}
	}
	from, to, amount := i%accounts, (i+1+c.n)%accounts, i%7
	if from > to { // all take locks in one order
		from, to, amount = to, from, -amount
	}
	if _, err := c.query(
		fmt.Sprintf(`BEGIN; UPDATE accounts SET balance = balance - %d WHERE id = %d;
UPDATE accounts SET balance = balance + %[1]d WHERE id = %[3]d;
INSERT INTO history VALUES (%d, %d, %[1]d); COMMIT`,
			amount, from, to, c.n, i)); err != nil {
		return err
	}
	got, err := c.query(fmt.Sprintf("SELECT sum(balance), repeat('%d.', 300) FROM accounts", i))
	if err != nil {
		return err
	}
	if want := strconv.Itoa(money) + "|" + strings.Repeat(strconv.Itoa(i)+".", 300); got != want {
		return fmt.Errorf("the answer is %.60q, want %.60q", got, want)
	}
	return nil
}

// query returns the rows of all answers, with | between columns and newlines between rows.
func (c *postgres) query(sql string) (string, error) {
	message := binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(5+len(sql)))
	if _, err := c.conn.Write(append(append(message, sql...), 0)); err != nil {
		return "", err
	}
	return c.rows()
}

// rows reads up to where the server waits for the next query.
func (c *postgres) rows() (string, error) {
	var rows []string
	var failed error
	for {
		var head [5]byte
		if _, err := io.ReadFull(c.r, head[:]); err != nil {
			return "", errors.Join(failed, err)
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(c.r, body); err != nil {
			return "", errors.Join(failed, err)
		}
		switch head[0] {
		case 'D':
			rows = append(rows, row(body))
		case 'E':
			failed = fmt.Errorf("postgres: %s", bytes.ReplaceAll(body, []byte{0}, []byte{' '}))
		case 'Z':
			return strings.Join(rows, "\n"), failed
		}
	}
}

func row(body []byte) string {
	var columns []string
	for body = body[2:]; len(body) > 0; {
		n := binary.BigEndian.Uint32(body)
		columns, body = append(columns, string(body[4:4+n])), body[4+n:]
	}
	return strings.Join(columns, "|")
}
