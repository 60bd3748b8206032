package rtld

import (
	"bytes"
	"debug/elf"
)

// dynamic is the dynamic section, with the addresses as they are in the process: the dynamic loader
// of glibc has added the bias to them, others leave them as linked.
type dynamic struct {
	addr, size               uint64 // of the section
	hash, gnuHash            uint64
	symtab, strtab, strsz    uint64
	versym, verdef, verdefNr uint64
	verneed, verneedNr       uint64
	soname                   uint64 // offset in strtab
	hasSoname                bool
}

// readDynamic reads the dynamic section of an image.
func (l *Library) readDynamic(r Reader, im *image) (*dynamic, error) {
	lay := layouts[im.class]
	size := uint64(2 * lay.word)
	size *= min(im.dynamic.memsz/size, maxDynamic)
	d := &dynamic{addr: im.bias + im.dynamic.addr, size: size}
	if !l.Contains(d.addr, size) {
		return nil, malformed("dynamic section outside of the image")
	}
	b, err := im.bytes(r, d.addr, size)
	if err != nil {
		return nil, err
	}
	eachDynamic(b, lay, func(tag elf.DynTag, value uint64) { d.set(l, tag, value) })
	return d, nil
}

// eachDynamic calls f with the entries up to the first DT_NULL.
func eachDynamic(b []byte, lay layout, f func(tag elf.DynTag, value uint64)) {
	for ; len(b) >= 2*lay.word; b = b[2*lay.word:] {
		tag := elf.DynTag(lay.get(b))
		if tag == elf.DT_NULL {
			return
		}
		f(tag, lay.get(b[lay.word:]))
	}
}

// eachEntry reads the dynamic section, and calls f with its entries.
func (l *Library) eachEntry(r Reader, f func(tag elf.DynTag, value uint64)) error {
	b := make([]byte, l.dynamic.size)
	if err := readFull(r, b, l.dynamic.addr); err != nil {
		return err
	}
	eachDynamic(b, layouts[l.Class], f)
	return nil
}

// needed reads the DT_NEEDED entries.
func (l *Library) needed(r Reader, d *dynamic) ([]string, error) {
	var offsets []uint64
	err := l.eachEntry(r, func(tag elf.DynTag, value uint64) {
		if tag == elf.DT_NEEDED {
			offsets = append(offsets, value)
		}
	})
	if err != nil {
		return nil, err
	}
	if len(offsets) > maxNeeded {
		return nil, ErrLimit
	}
	names := make([]string, 0, len(offsets))
	for _, off := range offsets {
		name, err := l.text(r, d, off, maxFileName)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

func (d *dynamic) set(l *Library, tag elf.DynTag, value uint64) {
	switch tag {
	case elf.DT_HASH:
		d.hash = l.place(value)
	case elf.DT_GNU_HASH:
		d.gnuHash = l.place(value)
	case elf.DT_SYMTAB:
		d.symtab = l.place(value)
	case elf.DT_STRTAB:
		d.strtab = l.place(value)
	case elf.DT_STRSZ:
		d.strsz = value
	case elf.DT_VERSYM:
		d.versym = l.place(value)
	case elf.DT_VERDEF:
		d.verdef = l.place(value)
	case elf.DT_VERDEFNUM:
		d.verdefNr = value
	case elf.DT_VERNEED:
		d.verneed = l.place(value)
	case elf.DT_VERNEEDNUM:
		d.verneedNr = value
	case elf.DT_SONAME:
		d.soname, d.hasSoname = value, true
	}
}

// place returns the address in the process of one in the dynamic section; 0 if it is outside of the
// image.
func (l *Library) place(value uint64) uint64 {
	for _, addr := range []uint64{value, l.Bias + value} {
		if l.Contains(addr, 1) {
			return addr
		}
	}
	return 0
}

// text reads the string at an offset of the string table, of at most size bytes.
func (l *Library) text(r Reader, d *dynamic, off, size uint64) (string, error) {
	if d.strtab == 0 || off >= d.strsz || d.strsz > maxAddress {
		return "", malformed("string outside of its table")
	}
	return l.textAt(r, d.strtab+off, min(d.strsz-off, size+1))
}

// textAt reads a string of at most size bytes with its NUL, in small pieces: most are short.
func (l *Library) textAt(r Reader, addr, size uint64) (string, error) {
	var text []byte
	var piece [64]byte
	for size > 0 {
		b := piece[:min(size, uint64(len(piece)), l.rest(addr))]
		if len(b) == 0 {
			break
		}
		if err := readFull(r, b, addr); err != nil {
			return "", err
		}
		part, _, ended := bytes.Cut(b, []byte{0})
		if text = append(text, part...); ended {
			return string(text), nil
		}
		addr, size = addr+uint64(len(b)), size-uint64(len(b))
	}
	return "", malformed("string without an end, or a very long one")
}
