package realtest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// mariadb is a client of a MariaDB server: as much of its protocol as it takes.
type mariadb struct {
	port, n  int
	conn     net.Conn
	r        *bufio.Reader
	sequence byte // of the next packet
}

// Capabilities that a client asks for, and the collation utf8mb4_bin.
const (
	protocol41       = 0x200
	secureConnection = 0x8000
	collation        = 46
)

func dialMariaDB(port, n int) (*mariadb, error) {
	c := &mariadb{port: port, n: n}
	return c, c.dial()
}

// dial logs in as root, without a password.
func (c *mariadb) dial() error {
	var err error
	if c.conn, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", c.port)); err != nil {
		return err
	}
	c.r, c.sequence = bufio.NewReader(c.conn), 0
	if _, err := c.receive(); err != nil {
		return err
	}
	login := binary.LittleEndian.AppendUint32(nil, protocol41|secureConnection)
	login = binary.LittleEndian.AppendUint32(login, 1<<24)
	login = append(append(login, collation), make([]byte, 23)...)
	if err := c.send(append(login, "root\x00\x00"...)); err != nil {
		return err
	}
	_, err = c.receive()
	return err
}

func (c *mariadb) close() {
	c.sequence = 0
	_ = c.send([]byte{1})
	c.conn.Close()
}

// makeMariaBank makes the bank of the test.
var makeMariaBank = []string{
	"CREATE DATABASE test",
	"CREATE TABLE test.accounts (id int PRIMARY KEY, balance int NOT NULL)",
	"INSERT INTO test.accounts SELECT seq, 1000 FROM test.seq_0_to_99",
	"CREATE TABLE test.history (client int, request int, amount int)",
}

// ask moves money, and has a sum and a text made.
func (c *mariadb) ask(i int) error {
	if i%50 == 0 { // another thread of the server
		c.close()
		if err := c.dial(); err != nil {
			return err
		}
	}
	from, to, amount := i%accounts, (i+1+c.n)%accounts, i%7
	if from > to { // all take locks in one order
		from, to, amount = to, from, -amount
	}
	for _, statement := range []string{
		"BEGIN",
		fmt.Sprintf("UPDATE test.accounts SET balance = balance - %d WHERE id = %d", amount, from),
		fmt.Sprintf("UPDATE test.accounts SET balance = balance + %d WHERE id = %d", amount, to),
		fmt.Sprintf("INSERT INTO test.history VALUES (%d, %d, %d)", c.n, i, amount),
		"COMMIT",
	} {
		if _, err := c.query(statement); err != nil {
			return err
		}
	}
	got, err := c.query(fmt.Sprintf("SELECT sum(balance), repeat('%d.', 300) FROM test.accounts",
		i))
	if err != nil {
		return err
	}
	if want := strconv.Itoa(money) + "|" + strings.Repeat(strconv.Itoa(i)+".", 300); got != want {
		return fmt.Errorf("the answer is %.60q, want %.60q", got, want)
	}
	return nil
}

// query returns the rows of an answer, with | between columns and newlines between rows.
func (c *mariadb) query(sql string) (string, error) {
	c.sequence = 0
	if err := c.send(append([]byte{3}, sql...)); err != nil {
		return "", err
	}
	head, err := c.receive()
	if err != nil || head[0] == 0 { // no rows
		return "", err
	}
	for range head[0] + 1 { // columns, and the end of them
		if _, err := c.receive(); err != nil {
			return "", err
		}
	}
	var rows []string
	for {
		packet, err := c.receive()
		if err != nil {
			return "", err
		}
		if packet[0] == 0xfe && len(packet) < 9 {
			return strings.Join(rows, "\n"), nil
		}
		rows = append(rows, mariaRow(packet))
	}
}

func mariaRow(packet []byte) string {
	var columns []string
	for len(packet) > 0 {
		n := int(packet[0])
		packet = packet[1:]
		if n == 0xfc {
			n = int(binary.LittleEndian.Uint16(packet))
			packet = packet[2:]
		}
		columns, packet = append(columns, string(packet[:n])), packet[n:]
	}
	return strings.Join(columns, "|")
}

func (c *mariadb) send(packet []byte) error {
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(packet))|uint32(c.sequence)<<24)
	c.sequence++
	_, err := c.conn.Write(append(head, packet...))
	return err
}

// receive returns a packet; an error packet as an error.
func (c *mariadb) receive() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return nil, err
	}
	c.sequence = head[3] + 1
	packet := make([]byte, binary.LittleEndian.Uint32(head[:])&0xffffff)
	_, err := io.ReadFull(c.r, packet)
	switch {
	case err != nil:
		return nil, err
	case len(packet) == 0:
		return nil, errors.New("mariadb: an empty packet")
	case packet[0] == 0xff:
		return nil, fmt.Errorf("mariadb: %q", packet[1:])
	}
	return packet, nil
}
