package rpmfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
)

// The payload is a cpio archive in the "new ASCII" format,
// https://man.freebsd.org/cgi/man.cgi?query=cpio&sektion=5, or, if it has a file of more than 4
// GiB, in RPM's own format, whose entries have only a file's index in the header's list.
const (
	magicLen   = 6
	magicNewc  = "070701"
	magicCRC   = "070702"
	magicShort = "07070X"
	trailer    = "TRAILER!!!"

	fieldMode     = 1 // of the 13 numbers after the magic
	fieldFilesize = 6
	fieldNamesize = 11
	newcFields    = 13
)

// payloadBuffer is the number of bytes read from the decompressor at a time.
const payloadBuffer = 256 << 10

// cpioReader returns the payload's entries one after another. Each must be a file in the header's
// list, and occurs once.
type cpioReader struct {
	r      *bufio.Reader
	rpm    *RPM
	links  *hardLinks
	seen   []bool
	offset int64 // modulo 4
	left   int64 // of the current entry's content
	head   [8 * newcFields]byte
}

func newCPIO(r io.Reader, rpm *RPM, links *hardLinks) *cpioReader {
	return &cpioReader{r: bufio.NewReaderSize(r, payloadBuffer), rpm: rpm, links: links,
		seen: make([]bool, len(rpm.files))}
}

// next advances to the next entry and returns its file's index in the list and the size of its
// content, which hard links other than the last lack. After the last entry it returns io.EOF.
func (c *cpioReader) next() (index int, size int64, err error) {
	if err := c.skip(c.left); err != nil {
		return 0, 0, err
	}
	c.left = 0
	if err := c.align(); err != nil {
		return 0, 0, err
	}
	magic, err := c.take(magicLen)
	if err != nil {
		return 0, 0, err
	}
	switch string(magic) {
	case magicNewc, magicCRC:
		index, size, err = c.full()
	case magicShort:
		index, size, err = c.short()
	default:
		err = fmt.Errorf("an entry cannot begin with %q", magic)
	}
	if err != nil {
		return 0, 0, err
	}
	if c.seen[index] {
		return 0, 0, fmt.Errorf("%q occurs twice", c.rpm.files[index].Name)
	}
	c.seen[index], c.left = true, size
	return index, size, c.align()
}

// full reads the rest of an entry with a complete header.
func (c *cpioReader) full() (index int, size int64, err error) {
	head, err := c.take(8 * newcFields)
	if err != nil {
		return 0, 0, err
	}
	mode, err1 := hexField(head, fieldMode)
	size, err2 := hexField(head, fieldFilesize)
	length, err3 := hexField(head, fieldNamesize)
	if err := errors.Join(err1, err2, err3); err != nil {
		return 0, 0, err
	}
	name, err := c.name(length)
	switch {
	case err != nil:
		return 0, 0, err
	case name == trailer:
		return 0, 0, io.EOF
	}
	index, err = c.lookUp(name)
	if err != nil {
		return 0, 0, err
	}
	f := &c.rpm.files[index]
	if fileMode(uint32(mode)).Type() != f.Mode.Type() {
		return 0, 0, fmt.Errorf("%q has another file type than in the header", f.Name)
	}
	if f.Mode.IsRegular() && size != f.Size && (size != 0 || !c.links.several(index)) {
		return 0, 0, fmt.Errorf("%q has %d bytes, but %d in the header", f.Name, size, f.Size)
	}
	return index, size, nil
}

// name reads the name of an entry.
func (c *cpioReader) name(length int64) (string, error) {
	if length < 1 || length > maxPath+2 {
		return "", fmt.Errorf("a name has %d bytes", length)
	}
	raw := make([]byte, length)
	if _, err := io.ReadFull(c.r, raw); err != nil {
		return "", noEOF(err)
	}
	c.offset += length
	name, zero := strings.CutSuffix(string(raw), "\x00")
	if !zero {
		return "", fmt.Errorf("name %.80q has no final NUL", name)
	}
	return name, nil
}

// lookUp finds the file that an entry names: with "./" before it, as RPM writes names now, or
// without, as it once did.
func (c *cpioReader) lookUp(name string) (int, error) {
	clean := name
	if rest, ok := strings.CutPrefix(name, "."); ok && (rest == "" || rest[0] == '/') {
		clean = rest
	}
	clean = "/" + strings.TrimPrefix(clean, "/")
	if path.Clean(clean) != clean {
		return 0, fmt.Errorf("%.200q leads out of the package", name)
	}
	i, ok := c.rpm.byName[clean]
	if !ok || c.rpm.files[i].ghost {
		return 0, fmt.Errorf("%.200q is not in the header's list", name)
	}
	return i, nil
}

// short reads the rest of an entry that only the header's list describes.
func (c *cpioReader) short() (index int, size int64, err error) {
	head, err := c.take(8)
	if err != nil {
		return 0, 0, err
	}
	number, err := hexField(head, 0)
	if err != nil {
		return 0, 0, err
	}
	if number >= int64(len(c.rpm.files)) || c.rpm.files[number].ghost {
		return 0, 0, fmt.Errorf("file %d is not in the header's list", number)
	}
	index = int(number)
	switch f := &c.rpm.files[index]; {
	case f.Mode.IsRegular() && c.links.last(index) == index:
		size = f.Size
	case f.Link != "":
		size = int64(len(f.Link))
	}
	return index, size, nil
}

// hexField returns the n-th number of eight hexadecimal digits.
func hexField(head []byte, n int) (int64, error) {
	v, err := strconv.ParseUint(string(head[8*n:8*n+8]), 16, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not a hexadecimal number", head[8*n:8*n+8])
	}
	return int64(v), nil
}

// take returns the next n bytes until the next call.
func (c *cpioReader) take(n int) ([]byte, error) {
	if _, err := io.ReadFull(c.r, c.head[:n]); err != nil {
		return nil, noEOF(err)
	}
	c.offset += int64(n)
	return c.head[:n], nil
}

// align skips to a multiple of four bytes, where headers and contents begin.
func (c *cpioReader) align() error { return c.skip(-c.offset & 3) }

// skip discards n bytes.
func (c *cpioReader) skip(n int64) error {
	c.offset += n
	for n > 0 {
		step := min(n, 1<<30) // an int may have 32 bits
		if _, err := c.r.Discard(int(step)); err != nil {
			return noEOF(err)
		}
		n -= step
	}
	return nil
}

// Read reads the current entry's content.
func (c *cpioReader) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	c.offset += int64(n)
	return n, noEOF(err)
}

// hardLinks knows which files in the list are hard links to one file. Only the last of them has its
// content in the payload.
type hardLinks struct {
	leader []int       // for each file, the first that is the same one
	latest map[int]int // the last link by leader, for files with several
}

func newHardLinks(files []entry) *hardLinks {
	type key struct {
		inode  uint64
		size   int64
		digest string
	}
	l := &hardLinks{leader: make([]int, len(files)), latest: map[int]int{}}
	first := map[key]int{}
	for i, f := range files {
		l.leader[i] = i
		if f.inode == 0 || f.ghost || !f.Mode.IsRegular() {
			continue
		}
		k := key{f.inode, f.Size, f.digest}
		if leader, ok := first[k]; ok {
			l.leader[i], l.latest[leader] = leader, i
		} else {
			first[k] = i
		}
	}
	return l
}

// several reports whether file i has other names.
func (l *hardLinks) several(i int) bool {
	_, ok := l.latest[l.leader[i]]
	return ok
}

// last returns the last of file i's names.
func (l *hardLinks) last(i int) int {
	if latest, ok := l.latest[l.leader[i]]; ok {
		return latest
	}
	return i
}
