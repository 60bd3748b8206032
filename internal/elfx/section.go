package elfx

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
)

// Section is an entry of the section table.
type Section struct {
	NameOff uint32 // of its name in the section names
	Type    elf.SectionType
	Flags   elf.SectionFlag
	Addr    uint64
	Offset  uint64
	Size    uint64
	Link    uint32
	Info    uint32
	Align   uint64
	Entsize uint64
}

// InFile reports whether the section has bytes in the file.
func (s *Section) InFile() bool { return s.Type != elf.SHT_NULL && s.Type != elf.SHT_NOBITS }

// AppendBinary appends the section as it is in a section table. It returns no error.
func (s *Section) AppendBinary(b []byte) ([]byte, error) {
	b = le.AppendUint32(b, s.NameOff)
	b = le.AppendUint32(b, uint32(s.Type))
	b = le.AppendUint64(b, uint64(s.Flags))
	b = le.AppendUint64(b, s.Addr)
	b = le.AppendUint64(b, s.Offset)
	b = le.AppendUint64(b, s.Size)
	b = le.AppendUint32(b, s.Link)
	b = le.AppendUint32(b, s.Info)
	b = le.AppendUint64(b, s.Align)
	return le.AppendUint64(b, s.Entsize), nil
}

func decodeSection(b []byte) Section {
	return Section{
		NameOff: le.Uint32(b),
		Type:    elf.SectionType(le.Uint32(b[4:])),
		Flags:   elf.SectionFlag(le.Uint64(b[8:])),
		Addr:    le.Uint64(b[16:]),
		Offset:  le.Uint64(b[24:]),
		Size:    le.Uint64(b[32:]),
		Link:    le.Uint32(b[40:]),
		Info:    le.Uint32(b[44:]),
		Align:   le.Uint64(b[48:]),
		Entsize: le.Uint64(b[56:]),
	}
}

// parseSections reads the section table and the section names.
func (f *File) parseSections() error {
	f.Shoff = le.Uint64(f.header[40:])
	entsize, count, names := le.Uint16(f.header[58:]), le.Uint16(f.header[60:]),
		le.Uint16(f.header[62:])
	switch {
	case f.Shoff == 0:
		return fail(40, "ELF header: section table", fmt.Errorf("%w: the file has none",
			ErrUnsupported))
	case count == 0 || count >= uint16(elf.SHN_LORESERVE) || names >= uint16(elf.SHN_LORESERVE):
		return fail(60, "ELF header: number of sections", fmt.Errorf("%w: 0, or 65280 and more",
			ErrUnsupported))
	case entsize != SectionSize:
		return fail(58, "ELF header: section table", errEntsize)
	case names == 0 || names >= count:
		return fail(62, "ELF header: index of the section names", errBounds)
	}
	table, err := f.table(f.Shoff, uint64(count), SectionSize, "section table")
	if err != nil {
		return err
	}
	f.Sections = make([]Section, count)
	for i := range f.Sections {
		f.Sections[i] = decodeSection(table[i*SectionSize:])
		if s := &f.Sections[i]; s.InFile() && f.within(s.Offset, s.Size, "") != nil {
			return fail(s.Offset, fmt.Sprintf("section %d", i), errBounds)
		}
	}
	f.Shstrndx = int(names)
	if f.names, err = f.strings(f.Shstrndx, "section names"); err != nil {
		return err
	}
	for i, s := range f.Sections {
		if err := checkName(f.names, uint64(s.NameOff)); err != nil {
			return fail(f.Shoff+uint64(i)*SectionSize, fmt.Sprintf("name of section %d", i), err)
		}
	}
	return nil
}

// strings returns the bytes of a string table: at least one, the last of them NUL.
func (f *File) strings(i int, what string) ([]byte, error) {
	if i <= 0 || i >= len(f.Sections) {
		return nil, fail(f.Shoff, what, fmt.Errorf("section %d does not exist", i))
	}
	s := &f.Sections[i]
	if s.Type != elf.SHT_STRTAB {
		return nil, fail(s.Offset, what, errors.New("not a string table"))
	}
	b, err := f.data(s, what)
	if err != nil {
		return nil, err
	}
	if len(b) == 0 || b[len(b)-1] != 0 {
		return nil, fail(s.Offset, what, errors.New("string table does not end in NUL"))
	}
	return b, nil
}

// Name returns the section's name.
func (f *File) Name(s *Section) string { return string(cString(f.names, s.NameOff)) }

// Names returns the bytes of the section that has the section names.
func (f *File) Names() []byte { return f.names }

// Data returns the section's bytes, nil if it has none in the file. They are part of the image,
// which must be in memory.
func (f *File) Data(s *Section) []byte {
	if !s.InFile() {
		return nil
	}
	return f.Image[s.Offset : s.Offset+s.Size : s.Offset+s.Size] // checked by parseSections
}

// data returns the section's bytes, wherever the image is, nil if it has none.
func (f *File) data(s *Section, what string) ([]byte, error) {
	if f.src == nil || !s.InFile() {
		return f.Data(s), nil
	}
	if b, ok := f.read[s]; ok {
		return b, nil
	}
	b, err := f.load(s.Offset, s.Size, what)
	if err != nil {
		return nil, err
	}
	f.read[s] = b
	return b, nil
}

// Find returns the first section of that name, nil if there is none.
func (f *File) Find(name string) *Section {
	for i := range f.Sections {
		if s := &f.Sections[i]; s.Type != elf.SHT_NULL &&
			string(cString(f.names, s.NameOff)) == name {
			return s
		}
	}
	return nil
}

// ofType returns the first section of that type, nil if there is none.
func (f *File) ofType(t elf.SectionType) *Section {
	for i := range f.Sections {
		if f.Sections[i].Type == t {
			return &f.Sections[i]
		}
	}
	return nil
}

// records returns the section's bytes, charged to the budget, if they are entries of the given
// size.
func (f *File) records(s *Section, size uint64, what string) ([]byte, error) {
	if s.Entsize != size || s.Size%size != 0 {
		return nil, fail(s.Offset, what, errEntsize)
	}
	if err := f.charge(s.Offset, s.Size, what); err != nil {
		return nil, err
	}
	return f.data(s, what)
}

// MaxName is the length that names of files and of versions may have, in bytes. Without a bound,
// many references to one long string would cost the product of both.
const MaxName = 4096

// checkName returns an error unless a string of at most MaxName bytes is at off.
func checkName(b []byte, off uint64) error {
	if off >= uint64(len(b)) {
		return errBounds
	}
	if b = b[off:]; bytes.IndexByte(b[:min(len(b), MaxName+1)], 0) < 0 {
		return errors.New("name is longer than 4096 bytes")
	}
	return nil
}

// cString returns the bytes from off up to the next NUL. off must be inside b.
func cString(b []byte, off uint32) []byte {
	b = b[off:]
	if n := bytes.IndexByte(b, 0); n >= 0 {
		return b[:n]
	}
	return b
}
