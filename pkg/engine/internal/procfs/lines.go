package procfs

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// maxLine is how much of a line is looked at, in bytes.
const maxLine = 64 << 10

var lineBuffers = sync.Pool{New: func() any { return new([maxLine]byte) }}

// ErrStop is returned by a callback to end the reading early and without an error.
var ErrStop = errors.New("stop")

// EachLine calls f with each line, without its newline; the slice is valid during the call only. Of
// a line of more than 64 KiB only the beginning is shown.
func EachLine(r io.Reader, f func(line []byte) error) error {
	buf := lineBuffers.Get().(*[maxLine]byte)
	defer lineBuffers.Put(buf)
	return eachLine(r, buf[:], f)
}

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
			if n > 0 || cut { // the kernel ends every line
				return malformed("cut off in the middle of a line")
			}
			return nil
		case err != nil:
			return err
		}
	}
}

var newline = []byte{'\n'}

func stopped(err error) error {
	if errors.Is(err, ErrStop) {
		return nil
	}
	return err
}
