package libpulp

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

var le = binary.LittleEndian

// reader is the process's memory, or a test's.
type reader interface {
	// read fills b or returns an error.
	read(b []byte, addr uint64) error
}

// memory reads a process that runs or is stopped.
type memory struct {
	ctx context.Context //nolint:containedctx // a reader lives as long as one call
	m   *process.Memory
}

func (m memory) read(b []byte, addr uint64) error {
	_, err := m.m.ReadAt(m.ctx, b, addr)
	return err
}

// ReadAt is for package tracer.
func (m memory) ReadAt(b []byte, off int64) (int, error) {
	return m.m.ReadAt(m.ctx, b, uint64(off))
}

const pageSize = 4096

// text reads a string that ends in a NUL, of at most most bytes. It never reads a page after the
// NUL's.
func text(r reader, addr uint64, most int) (string, error) {
	var s []byte
	for len(s) <= most {
		at := addr + uint64(len(s))
		s = slices.Grow(s, 64)
		part := s[len(s) : len(s)+int(min(64, pageSize-at%pageSize))]
		if at < addr {
			break
		}
		if err := r.read(part, at); err != nil {
			return "", err
		}
		if i := bytes.IndexByte(part, 0); i >= 0 && len(s)+i <= most {
			return string(s[:len(s)+i]), nil
		}
		s = s[:len(s)+len(part)]
	}
	return "", malformed("string of more than %d bytes at %#x", most, addr)
}

// word reads a number of 64 bits.
func word(r reader, addr uint64) (uint64, error) {
	var b [8]byte
	err := r.read(b[:], addr)
	return le.Uint64(b[:]), err
}

// number reads a number of 32 bits.
func number(r reader, addr uint64) (int32, error) {
	var b [4]byte
	err := r.read(b[:], addr)
	return int32(le.Uint32(b[:])), err
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}
