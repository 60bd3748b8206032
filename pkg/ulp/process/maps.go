package process

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"
)

// Perm are the permissions of a mapping.
type Perm uint8

// Bits of Perm. Without PermShared a mapping is private: what is written to it stays in the process.
const (
	PermRead Perm = 1 << iota
	PermWrite
	PermExec
	PermShared
)

// String returns the permissions as in /proc/PID/maps: "r-xp".
func (p Perm) String() string {
	b := []byte("---p")
	for i, c := range []byte("rwxs") {
		if p&(1<<i) != 0 {
			b[i] = c
		}
	}
	return string(b)
}

// FileID is what the kernel knows a mapped file by. It is 0 for memory without a file. With overlay and btrfs file
// systems it is not what stat(2) tells of the same file.
type FileID struct{ Dev, Inode uint64 }

// Mapping is one line of /proc/PID/maps.
type Mapping struct {
	Start, End uint64
	Offset     uint64 // in the file
	Perm       Perm
	File       FileID
	// Path is what the kernel says, at most 4,096 bytes of it: a path in the process's mount namespace, or in brackets what
	// else it is. A newline in it is "\012"; all other bytes are as they are. Never open it.
	Path    string
	Deleted bool // Path had " (deleted)" behind it: the file was deleted or replaced, or the name ends so
}

// line is a mapping whose path is still a part of the buffer.
type line struct {
	Mapping
	path []byte
}

// parseMapping reads "START-END PERM OFFSET MAJOR:MINOR INODE   PATH".
func parseMapping(text []byte) (line, error) {
	var l line
	s := scanner{rest: text}
	l.Start, l.End = s.hex('-'), s.hex(' ')
	l.Perm = s.perm()
	l.Offset = s.hex(' ')
	major, minor := s.hex(':'), s.hex(' ')
	l.File.Inode = s.decimal()
	if s.bad || l.Start >= l.End || major>>32 != 0 || minor>>32 != 0 {
		return line{}, malformed("line of maps")
	}
	l.File.Dev = unix.Mkdev(uint32(major), uint32(minor))
	l.path = bytes.TrimLeft(s.rest, " ")
	l.path, l.Deleted = bytes.CutSuffix(l.path, []byte(" (deleted)"))
	l.path = l.path[:min(len(l.path), maxPath)]
	return l, nil
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

func (s *scanner) perm() Perm {
	f := s.field(' ')
	if len(f) != 4 || f[3] != 'p' && f[3] != 's' {
		s.bad = true
		return 0
	}
	var p Perm
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
