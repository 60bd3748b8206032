package process

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// lineBuffers are shared by all calls: at any time there are as many as there are calls.
var lineBuffers = sync.Pool{New: func() any { return new([maxLine]byte) }}

// errStop ends eachLine early and without an error.
var errStop = errors.New("stop")

// eachLine calls f with each line, without its newline; the slice is valid during the call only. Of a line that does not
// fit into buf only the beginning is shown.
func eachLine(r io.Reader, buf []byte, f func(line []byte) error) error {
	n, cut := 0, false // bytes in buf; whether the line at its start began before it
	for {
		more, err := r.Read(buf[n:])
		n += more
		rest := buf[:n]
		for {
			line, after, ok := bytes.Cut(rest, newline)
			if !ok {
				break
			}
			rest = after
			if cut {
				cut = false
				continue
			}
			if err := f(line); err != nil {
				return stopped(err)
			}
		}
		if len(rest) == len(buf) { // a line that is longer than buf
			if !cut {
				if err := f(rest); err != nil {
					return stopped(err)
				}
			}
			cut, rest = true, nil
		}
		n = copy(buf, rest)
		switch {
		case errors.Is(err, io.EOF):
			if n > 0 && !cut {
				return stopped(f(buf[:n]))
			}
			return nil
		case err != nil:
			return err
		}
	}
}

var newline = []byte{'\n'}

func stopped(err error) error {
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}
