package elfx_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/internal/elfx"
)

// countingReader counts what is read.
type countingReader struct {
	io.ReaderAt
	n int
}

func (r *countingReader) ReadAt(b []byte, off int64) (int, error) {
	r.n += len(b)
	return r.ReaderAt.ReadAt(b, off)
}

// Of a file no more is read than it is asked for: not its data, and of its code only what is near
// the entries.
func TestOpenReadsParts(t *testing.T) {
	const much = 1 << 20
	padded := append(image(t), make([]byte, much)...)
	r := &countingReader{ReaderAt: bytes.NewReader(padded)}
	c, err := readAll(elfx.Open(r, int64(len(padded))))
	if err != nil || len(c.Entries) == 0 || len(c.Rows) == 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	if limit := len(padded) - much + 64<<10; r.n > limit {
		t.Errorf("%d bytes were read, more than %d", r.n, limit)
	}
}

// A file that becomes shorter while it is read gives an error wherever it ends.
func TestOpenFileThatShrinks(t *testing.T) {
	full := image(t)
	for n := range full {
		short := bytes.NewReader(full[:n])
		c, err := readAll(elfx.Open(short, int64(len(full))))
		if err == nil {
			continue // nobody asked for the rest
		}
		if e, ok := errors.AsType[*elfx.Error](err); c != nil || !ok ||
			!errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%d bytes are left: %v, %v", n, e, err)
		}
	}
	if _, err := readAll(elfx.Open(bytes.NewReader(full[:len(full)-1]),
		int64(len(full)))); err == nil {
		t.Error("the end of the section table was not missed")
	}
}

// brokenReader fails from an offset on.
type brokenReader struct {
	io.ReaderAt
	from int64
}

var errBroken = errors.New("bad sector")

func (r brokenReader) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > r.from {
		return 0, errBroken
	}
	return r.ReaderAt.ReadAt(b, off)
}

// The errors of reading come out, that of code too, which is read without one at hand.
func TestOpenReadError(t *testing.T) {
	full := image(t)
	text := parse(t, full).Find(".text")
	for _, from := range []int64{0, 70, int64(text.Offset), int64(len(full)) - 1} {
		c, err := readAll(elfx.Open(brokenReader{bytes.NewReader(full), from}, int64(len(full))))
		if c != nil || !errors.Is(err, errBroken) {
			t.Errorf("from %#x on: %v, %v", from, c, err)
		}
	}
	onlyCode := codeBroken{bytes.NewReader(full), int64(text.Offset),
		int64(text.Offset + text.Size)}
	if c, err := readAll(elfx.Open(onlyCode, int64(len(full)))); c != nil ||
		!errors.Is(err, errBroken) || !strings.Contains(err.Error(), "code at") {
		t.Errorf("code only: %v, %v", c, err)
	}
}

// codeBroken fails where code is read.
type codeBroken struct {
	io.ReaderAt
	start, end int64
}

func (r codeBroken) ReadAt(b []byte, off int64) (int, error) {
	if off >= r.start && off < r.end {
		return 0, errBroken
	}
	return r.ReaderAt.ReadAt(b, off)
}

// Parts that overlap are not read again and again: together they are no more than the file.
func TestOpenOverlappingParts(t *testing.T) {
	bad := image(t)
	f := parse(t, bad)
	for _, name := range []string{".dynstr", ".strtab", ".shstrtab"} {
		// each the whole file, which ends in NUL
		at := section(f, name)
		binary.LittleEndian.PutUint64(bad[at+sectionOffset:], 0)
		binary.LittleEndian.PutUint64(bad[at+sectionSize:], uint64(len(bad)))
	}
	bad[len(bad)-1] = 0
	r := &countingReader{ReaderAt: bytes.NewReader(bad)}
	if c, err := readAll(elfx.Open(r, int64(len(bad)))); c != nil || err == nil ||
		!strings.Contains(err.Error(), "overlap") {
		t.Errorf("%v, %v", c, err)
	}
	if r.n > len(bad) {
		t.Errorf("%d bytes were read of %d", r.n, len(bad))
	}
}

// Segments of the same bytes make each look at code a jump. They cost a little each, not a stretch.
func TestOpenManySegmentsOfTheSameCode(t *testing.T) {
	const segments, size = 2000, 200 << 10
	file := make([]byte, size)
	copy(file, image(t)[:elfx.HeaderSize])
	le := binary.LittleEndian
	le.PutUint16(file[56:], segments)
	for i := range segments {
		p := file[elfx.HeaderSize+56*i:]
		le.PutUint32(p, uint32(elf.PT_LOAD))
		le.PutUint32(p[4:], uint32(elf.PF_X|elf.PF_R))
		le.PutUint64(p[16:], uint64(i*size))
		le.PutUint64(p[32:], size)
		le.PutUint64(p[40:], size)
	}
	names := size - 2*elfx.SectionSize - 8
	le.PutUint64(file[40:], uint64(size-2*elfx.SectionSize))
	le.PutUint16(file[60:], 2)
	le.PutUint16(file[62:], 1)
	strtab := elfx.Section{Type: elf.SHT_STRTAB, Offset: uint64(names), Size: 8}
	header, _ := strtab.AppendBinary(nil)
	copy(file[size-elfx.SectionSize:], header)
	r := &countingReader{ReaderAt: bytes.NewReader(file)}
	f, err := elfx.Open(r, size)
	if err != nil {
		t.Fatal(err)
	}
	m, err := f.Memory()
	if err != nil {
		t.Fatal(err)
	}
	for i := range segments {
		// Far apart, so that what was read for one is of no use for the next.
		addr := uint64(i*size + i%2*(size/2))
		if code := m.Code(addr); len(code) < 2048 ||
			!slices.Equal(code[:8], file[i%2*(size/2):][:8]) {
			t.Fatalf("segment %d: %d bytes of code", i, len(code))
		}
	}
	if limit := 3*size + segments*2048 + 64<<10; r.n > limit {
		t.Errorf("%d bytes were read, more than %d", r.n, limit)
	}
}
