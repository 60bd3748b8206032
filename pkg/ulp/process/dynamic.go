package process

import (
	"bytes"
	"debug/elf"
)

// dynamic is the dynamic section, with the addresses as they are in the process: the dynamic loader of glibc has added
// the bias to them, others leave them as linked.
type dynamic struct {
	hash, gnuHash            uint64
	symtab, strtab, strsz    uint64
	versym, verdef, verdefNr uint64
	soname                   uint64 // offset in strtab
	hasSoname                bool
	needed                   []uint64 // offsets in strtab
}

// readDynamic reads the dynamic section of an image.
func (l *Library) readDynamic(r reader, im *image) (*dynamic, error) {
	lay := layouts[im.class]
	entry := uint64(2 * lay.word)
	addr, count := im.bias+im.dynamic.addr, min(im.dynamic.memsz/entry, maxDynamic)
	if !l.Contains(addr, count*entry) {
		return nil, malformed("dynamic section outside of the image")
	}
	b, err := im.bytes(r, addr, count*entry)
	if err != nil {
		return nil, err
	}
	d := &dynamic{}
	for ; uint64(len(b)) >= entry; b = b[entry:] {
		tag, value := elf.DynTag(lay.get(b)), lay.get(b[lay.word:])
		if tag == elf.DT_NULL {
			break
		}
		d.set(l, tag, value)
	}
	return d, nil
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
	case elf.DT_SONAME:
		d.soname, d.hasSoname = value, true
	case elf.DT_NEEDED:
		if len(d.needed) < maxNeeded {
			d.needed = append(d.needed, value)
		}
	}
}

// place returns the address in the process of one in the dynamic section; 0 if it is outside of the image.
func (l *Library) place(value uint64) uint64 {
	for _, addr := range []uint64{value, l.Bias + value} {
		if l.Contains(addr, 1) {
			return addr
		}
	}
	return 0
}

// text reads the string at an offset of the string table.
func (l *Library) text(r reader, d *dynamic, off uint64) (string, error) {
	if d.strtab == 0 || off >= d.strsz || d.strsz > maxAddress {
		return "", malformed("string outside of its table")
	}
	return l.textAt(r, d.strtab+off, min(d.strsz-off, maxName+1))
}

// textAt reads a string of at most size bytes with its NUL, in small pieces: most are short.
func (l *Library) textAt(r reader, addr, size uint64) (string, error) {
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
		if i := bytes.IndexByte(b, 0); i >= 0 {
			return string(append(text, b[:i]...)), nil
		}
		text = append(text, b...)
		addr, size = addr+uint64(len(b)), size-uint64(len(b))
	}
	return "", malformed("string without an end, or longer than %d bytes", maxName)
}
