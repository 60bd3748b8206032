package procfs

import (
	"bytes"
	"io"
	"strconv"

	"golang.org/x/sys/unix"
)

// Bits of Mapping.Perm.
const (
	PermRead = 1 << iota
	PermWrite
	PermExec
	PermShared
)

// Mapping is one line of /proc/PID/maps.
type Mapping struct {
	Start, End uint64
	Perm       uint8
	Offset     uint64 // in the file
	Dev, Inode uint64 // of the file; 0 if there is none
	// Path is a part of the buffer: valid during the callback only, at most 4,096 bytes. A newline
	// in it is "\012"; all other bytes are as they are, " (deleted)" at the end included.
	Path []byte
}

// EachMapping calls f with each mapping of maps, in ascending order. f ends it early by returning
// [ErrStop]. No mappings at all are ErrMalformed: the kernel shows that of an address space that is
// just going away.
func EachMapping(r io.Reader, f func(m *Mapping) error) error {
	var m Mapping
	err := EachLine(r, func(line []byte) error {
		if err := m.parse(line); err != nil {
			return err
		}
		return f(&m)
	})
	if err == nil && m.End == 0 {
		err = malformed("no mappings")
	}
	return err
}

// Mappings calls f with each mapping of the process, as [EachMapping] does.
func (d *Dir) Mappings(f func(m *Mapping) error) error {
	r, err := d.Open("maps", ReadOnly)
	if err != nil {
		return err
	}
	defer r.Close()
	return d.fail("maps", EachMapping(r, f))
}

// parse reads "START-END PERM OFFSET MAJOR:MINOR INODE   PATH".
func (m *Mapping) parse(line []byte) error {
	s := scanner{rest: line}
	m.Start, m.End = s.hex('-'), s.hex(' ')
	m.Perm = s.perm()
	m.Offset = s.hex(' ')
	major, minor := s.hex(':'), s.hex(' ')
	m.Inode = s.decimal()
	if s.bad || m.Start >= m.End || major>>32 != 0 || minor>>32 != 0 {
		return malformed("line of maps")
	}
	m.Dev = unix.Mkdev(uint32(major), uint32(minor))
	m.Path = bytes.TrimLeft(s.rest, " ")
	return nil
}

// scanner takes fields off a line; bad is set at the first that is not as it should be.
type scanner struct {
	rest []byte
	bad  bool
}

func (s *scanner) field(end byte) []byte {
	f, rest, ok := bytes.Cut(s.rest, []byte{end})
	s.rest, s.bad = rest, s.bad || !ok
	return f
}

func (s *scanner) hex(end byte) uint64 {
	var n uint64
	f := s.field(end)
	s.bad = s.bad || len(f) == 0 || len(f) > 16
	for _, c := range f {
		digit := c - '0'
		if digit > 9 {
			if digit = c - 'a' + 10; c < 'a' || c > 'f' {
				s.bad = true
			}
		}
		n = n<<4 | uint64(digit)
	}
	return n
}

// decimal reads the inode, which is the last field of a line without a path.
func (s *scanner) decimal() uint64 {
	f, rest, _ := bytes.Cut(s.rest, []byte{' '})
	s.rest = rest
	n, err := strconv.ParseUint(string(f), 10, 64)
	s.bad = s.bad || err != nil
	return n
}

func (s *scanner) perm() uint8 {
	f := s.field(' ')
	if len(f) != 4 || f[3] != 'p' && f[3] != 's' {
		s.bad = true
		return 0
	}
	var p uint8
	for i, c := range []byte("rwxs") {
		switch f[i] {
		case c:
			p |= 1 << i
		case '-', 'p':
		default:
			s.bad = true
		}
	}
	return p
}
