package abi

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A facts file is the magic, followed by a compressed stream: the strings, each once, and then the
// facts, in which a string is its number. Numbers are varints.
const (
	magic       = "lpbuild facts 1\n"
	maxFacts    = 64 << 20 // bytes, uncompressed
	maxFactFile = 64 << 20 // bytes
)

var errFacts = errors.New("not a facts file of this version of lpbuild, or damaged")

// Bytes returns the facts as a file: the same for the same facts.
func (f *Facts) Bytes() ([]byte, error) {
	e := &codec{numbers: map[string]uint64{}}
	e.facts(f)
	var table codec
	table.uint(uint64(len(e.strings)))
	for _, s := range e.strings {
		table.uint(uint64(len(s)))
		table.buf = append(table.buf, s...)
	}
	if len(table.buf)+len(e.buf) > maxFacts {
		return nil, fmt.Errorf("facts: %w", errLimit)
	}
	var out bytes.Buffer
	out.WriteString(magic)
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	for _, b := range [][]byte{table.buf, e.buf} {
		if _, err := w.Write(b); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Parse reads a facts file.
func Parse(data []byte) (*Facts, error) {
	rest, ok := bytes.CutPrefix(data, []byte(magic))
	if !ok || len(data) > maxFactFile {
		return nil, errFacts
	}
	src := bytes.NewReader(rest)
	raw, err := io.ReadAll(io.LimitReader(flate.NewReader(src), maxFacts+1))
	if err != nil || len(raw) > maxFacts || src.Len() > 0 {
		return nil, errFacts
	}
	d := &codec{buf: raw, decode: true}
	all := string(raw) // the memory of all strings
	for range d.length(0) {
		size := d.length(0)
		if d.failed {
			return nil, errFacts
		}
		at := len(raw) - len(d.buf)
		d.strings = append(d.strings, all[at:at+size])
		d.buf = d.buf[size:]
	}
	f := &Facts{}
	d.facts(f)
	if d.failed || len(d.buf) > 0 || !f.valid() {
		return nil, errFacts
	}
	f.index()
	return f, nil
}

// valid reports whether all indexes are of units that exist.
func (f *Facts) valid() bool {
	ok := func(unit int) bool { return unit >= -1 && unit < len(f.Units) }
	for i := range f.Functions {
		if !ok(f.Functions[i].Unit) {
			return false
		}
	}
	for i := range f.Variables {
		if !ok(f.Variables[i].Unit) {
			return false
		}
	}
	for i := range f.Layouts {
		if !ok(f.Layouts[i].Unit) {
			return false
		}
	}
	return true
}

// codec encodes and decodes: one description of the format for both.
type codec struct {
	buf     []byte
	decode  bool
	failed  bool
	strings []string
	numbers map[string]uint64 // of the strings, while encoding
}

func (c *codec) facts(f *Facts) {
	c.string(&f.BuildID)
	list(c, &f.Units, func(u *Unit) {
		c.string(&u.Name)
		c.string(&u.Producer)
		c.bool(&u.LTO)
	})
	list(c, &f.Functions, c.function)
	list(c, &f.Variables, func(v *Variable) {
		c.string(&v.Name)
		c.place(&v.Unit, &v.File, &v.Line)
		c.typ(&v.Type)
		c.string(&v.Function)
		c.address(&v.Address)
		c.bool(&v.TLS)
		c.bool(&v.External)
	})
	list(c, &f.Layouts, c.layout)
}

func (c *codec) function(f *Function) {
	c.string(&f.Name)
	c.place(&f.Unit, &f.File, &f.Line)
	c.typ(&f.Result)
	list(c, &f.Params, func(p *Param) {
		c.string(&p.Name)
		c.typ(&p.Type)
	})
	c.bool(&f.Variadic)
	c.bool(&f.External)
	list(c, &f.Addresses, c.address)
	list(c, &f.Symbols, c.string)
	list(c, &f.Clones, c.string)
	list(c, &f.Inlined, c.copies)
	list(c, &f.Callers, c.copies)
}

func (c *codec) copies(p *Copy) {
	c.string(&p.Into)
	c.int(&p.Count)
}

func (c *codec) layout(l *Layout) {
	c.string(&l.Name)
	c.string((*string)(&l.Kind))
	c.int64(&l.Size)
	c.place(&l.Unit, &l.File, &l.Line)
	c.string(&l.Target)
	list(c, &l.Members, func(m *Member) {
		c.string(&m.Name)
		c.typ(&m.Type)
		c.int64(&m.Offset)
		c.int64(&m.BitOffset)
		c.int64(&m.BitSize)
		c.int(&m.Line)
	})
	list(c, &l.Values, func(v *Value) {
		c.string(&v.Name)
		c.int64(&v.Value)
	})
}

func (c *codec) place(unit *int, file *string, line *int) {
	c.int(unit)
	c.string(file)
	c.int(line)
}

func (c *codec) typ(t *Type) {
	c.string(&t.Name)
	c.int64(&t.Size)
}

// list is a number of elements and the elements.
func list[T any](c *codec, l *[]T, element func(*T)) {
	if !c.decode {
		c.uint(uint64(len(*l)))
		for i := range *l {
			element(&(*l)[i])
		}
		return
	}
	n := c.length(0)
	if n > 0 {
		*l = make([]T, 0, min(n, 64))
	}
	for range n {
		if c.failed {
			return
		}
		var v T
		element(&v)
		*l = append(*l, v)
	}
}

// length is the number of things of at least one byte each.
func (c *codec) length(n int) int {
	v := c.uint(uint64(n))
	if c.decode && v > uint64(len(c.buf)) {
		c.failed = true
		return 0
	}
	return int(v)
}

func (c *codec) uint(v uint64) uint64 {
	if !c.decode {
		c.buf = binary.AppendUvarint(c.buf, v)
		return v
	}
	v, n := binary.Uvarint(c.buf)
	if n <= 0 {
		c.failed = true
		return 0
	}
	c.buf = c.buf[n:]
	return v
}

func (c *codec) address(v *uint64) { *v = c.uint(*v) }

func (c *codec) int64(v *int64) {
	zigzag := c.uint(uint64(*v)<<1 ^ uint64(*v>>63))
	*v = int64(zigzag>>1) ^ -int64(zigzag&1)
}

func (c *codec) int(v *int) {
	n := int64(*v)
	c.int64(&n)
	*v = int(n)
}

func (c *codec) bool(v *bool) {
	var n uint64
	if *v {
		n = 1
	}
	*v = c.uint(n) == 1
}

func (c *codec) string(s *string) {
	if c.decode {
		if n := c.uint(0); n < uint64(len(c.strings)) {
			*s = c.strings[n]
		} else {
			c.failed = true
		}
		return
	}
	n, ok := c.numbers[*s]
	if !ok {
		n = uint64(len(c.strings))
		c.numbers[*s] = n
		c.strings = append(c.strings, *s)
	}
	c.uint(n)
}
