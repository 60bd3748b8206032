package realtest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// redis is a client of a Redis server.
type redis struct {
	conn net.Conn
	r    *bufio.Reader
	n    int
}

func dialRedis(port, n int) (*redis, error) {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	return &redis{conn, bufio.NewReader(conn), n}, nil
}

func (c *redis) close() { c.conn.Close() }

// ask sets a key, gets another one that was set before, and counts; all three commands in one go.
func (c *redis) ask(i int) error {
	const keys = 500
	value := func(i int) string { return string(noise(uint64(c.n), uint64(i), 1+i%2000)) }
	key := func(i int) string { return fmt.Sprintf("key:%d:%d", c.n, i%keys) }
	if err := c.send([]string{"SET", key(i), value(i)}, []string{"GET", key(i)},
		[]string{"INCR", "requests"}); err != nil {
		return err
	}
	for _, want := range []string{"OK", value(i), ""} {
		got, err := c.receive()
		if err != nil {
			return err
		}
		if want != "" && got != want {
			return fmt.Errorf("the answer %.40q is not the %d bytes that are right", got, len(want))
		}
	}
	return nil
}

func (c *redis) send(commands ...[]string) error {
	var b strings.Builder
	for _, words := range commands {
		fmt.Fprintf(&b, "*%d\r\n", len(words))
		for _, w := range words {
			fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
		}
	}
	_, err := io.WriteString(c.conn, b.String())
	return err
}

// receive reads a simple string, a number or a bulk string.
func (c *redis) receive() (string, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	switch {
	case strings.HasPrefix(line, "+") || strings.HasPrefix(line, ":"):
		return line[1:], nil
	case !strings.HasPrefix(line, "$"):
		return "", fmt.Errorf("redis answers %q", line)
	}
	n, err := strconv.Atoi(line[1:])
	if err != nil || n < 0 {
		return "", fmt.Errorf("redis answers %q", line)
	}
	data := make([]byte, n+2)
	_, err = io.ReadFull(c.r, data)
	return string(data[:n]), err
}

// command sends one command and returns its answer.
func (c *redis) command(words ...string) (string, error) {
	if err := c.send(words); err != nil {
		return "", err
	}
	return c.receive()
}
