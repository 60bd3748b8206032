package elfx

import (
	"debug/elf"
	"errors"
	"io"
	"strings"
)

// MaxNeeded is the number of libraries that a file may need.
const MaxNeeded = 4096

// Dynamic is the dynamic section.
type Dynamic struct {
	rows []byte // up to DT_NULL
	strs []byte
}

// Dynamic returns the dynamic section. Without one the result is empty.
func (f *File) Dynamic() (*Dynamic, error) {
	s := f.ofType(elf.SHT_DYNAMIC)
	if s == nil {
		return new(Dynamic), nil
	}
	rows, err := f.records(s, dynSize, "dynamic section")
	if err != nil {
		return nil, err
	}
	d := &Dynamic{rows: rows}
	if d.strs, err = f.strings(int(s.Link), "names of the dynamic section"); err != nil {
		return nil, err
	}
	names := 0
	for off := 0; off < len(rows); off += dynSize {
		tag, val := elf.DynTag(le.Uint64(rows[off:])), le.Uint64(rows[off+8:])
		switch tag {
		case elf.DT_NULL:
			d.rows = rows[:off]
			return d, nil
		case elf.DT_NEEDED, elf.DT_SONAME:
			err := checkName(d.strs, val)
			if names++; names > MaxNeeded {
				err = errors.New("one too many")
			}
			if err != nil {
				return nil, fail(s.Offset+uint64(off), "name in the dynamic section", err)
			}
		}
	}
	return nil, fail(s.Offset+s.Size, "dynamic section", errNoEnd)
}

var errNoEnd = errors.Join(errors.New("has no end"), io.ErrUnexpectedEOF)

// Value returns the value of the tag's first entry.
func (d *Dynamic) Value(tag elf.DynTag) (value uint64, ok bool) {
	for off := 0; off < len(d.rows); off += dynSize {
		if elf.DynTag(le.Uint64(d.rows[off:])) == tag {
			return le.Uint64(d.rows[off+8:]), true
		}
	}
	return 0, false
}

// Strings returns the strings of all entries of the tag, DT_NEEDED or DT_SONAME.
func (d *Dynamic) Strings(tag elf.DynTag) []string {
	var offs []uint64
	for off := 0; off < len(d.rows); off += dynSize {
		if elf.DynTag(le.Uint64(d.rows[off:])) == tag {
			offs = append(offs, le.Uint64(d.rows[off+8:]))
		}
	}
	if len(offs) == 0 {
		return nil
	}
	strs := string(d.strs) // once, since many entries may name one long string
	list := make([]string, len(offs))
	for i, off := range offs {
		list[i], _, _ = strings.Cut(strs[off:], "\x00")
	}
	return list
}
