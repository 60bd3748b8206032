package abi

import (
	"bytes"
	"compress/zlib"
	"debug/dwarf"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"io"
	"strings"

	"github.com/lpbuild/lpbuild/internal/elfx"
)

// maxSections bounds the debug sections of a file, uncompressed, in total.
const maxSections = 1 << 30

// sections holds the debug sections of a file by their names without ".debug_".
type sections struct {
	data    map[string][]byte
	buildID string
	symbols map[uint64][]string // names of the functions at an address
	object  bool                // not linked; supplementary files are such
	left    uint64              // bytes that may still be read
}

// readSections reads the debug sections and function symbols of an ELF file.
func readSections(r io.ReaderAt) (*sections, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, &FormatError{"ELF", err}
	}
	s := &sections{data: map[string][]byte{}, left: maxSections, object: f.Type == elf.ET_REL}
	for _, sec := range f.Sections {
		if err := s.add(sec); err != nil {
			return nil, err
		}
	}
	if err := s.readSymbols(f); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *sections) add(sec *elf.Section) error {
	name, isDebug := strings.CutPrefix(sec.Name, ".debug_")
	zname, isZ := strings.CutPrefix(sec.Name, ".zdebug_")
	switch {
	case sec.Type == elf.SHT_NOBITS:
		return nil
	case isDebug:
	case isZ:
		name = zname
	case sec.Name == ".note.gnu.build-id", sec.Name == ".gnu_debugaltlink":
		name = sec.Name
	default:
		return nil
	}
	if !needed[name] || s.data[name] != nil {
		return nil
	}
	data, err := s.read(sec)
	if err == nil && isZ {
		data, err = s.inflate(data)
	}
	if err != nil {
		return &FormatError{sec.Name, err}
	}
	if name == ".note.gnu.build-id" {
		s.buildID = hex.EncodeToString(buildIDNote(data))
	}
	s.data[name] = data
	return nil
}

// needed are the sections that this package or debug/dwarf looks at.
var needed = map[string]bool{
	"abbrev": true, "info": true, "str": true, "line": true, "line_str": true, "ranges": true,
	"rnglists": true, "addr": true, "str_offsets": true, "types": true, "sup": true,
	".note.gnu.build-id": true, ".gnu_debugaltlink": true,
}

// read returns the uncompressed content of a section.
func (s *sections) read(sec *elf.Section) ([]byte, error) {
	if sec.Size > s.left {
		return nil, errLimit
	}
	s.left -= sec.Size
	return sec.Data()
}

// inflate uncompresses the older form of compressed sections: "ZLIB", and the size in eight bytes.
func (s *sections) inflate(data []byte) ([]byte, error) {
	if len(data) < 12 || string(data[:4]) != "ZLIB" {
		return data, nil
	}
	size := binary.BigEndian.Uint64(data[4:])
	if size > s.left {
		return nil, errLimit
	}
	s.left -= size
	z, err := zlib.NewReader(bytes.NewReader(data[12:]))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(z, int64(size)))
	if err == nil && uint64(len(out)) != size {
		err = io.ErrUnexpectedEOF
	}
	return out, err
}

// readSymbols notes the names of functions by their addresses, also of local ones.
func (s *sections) readSymbols(f *elf.File) error {
	s.symbols = map[uint64][]string{}
	sec := f.SectionByType(elf.SHT_SYMTAB)
	if sec == nil || sec.Type == elf.SHT_NOBITS {
		return nil
	}
	size := sec.Size
	if int(sec.Link) < len(f.Sections) {
		size += f.Sections[sec.Link].Size
	}
	if size > s.left {
		return &FormatError{sec.Name, errLimit}
	}
	symbols, err := f.Symbols()
	if err != nil {
		return &FormatError{sec.Name, err}
	}
	for i := range symbols {
		if sym := &symbols[i]; elf.ST_TYPE(sym.Info) == elf.STT_FUNC ||
			elf.ST_TYPE(sym.Info) == elf.STT_GNU_IFUNC {
			s.symbols[sym.Value] = append(s.symbols[sym.Value], sym.Name)
		}
	}
	return nil
}

// dwarf returns the sections for debug/dwarf.
func (s *sections) dwarf() (*dwarf.Data, error) {
	if len(s.data["info"]) == 0 {
		return nil, ErrNone
	}
	d, err := dwarf.New(s.data["abbrev"], nil, nil, s.data["info"], s.data["line"], nil,
		s.data["ranges"], s.data["str"])
	if err != nil {
		return nil, &FormatError{".debug_info", err}
	}
	for _, name := range []string{"line_str", "rnglists", "addr", "str_offsets"} {
		if data := s.data[name]; data != nil {
			if err := d.AddSection(".debug_"+name, data); err != nil {
				return nil, &FormatError{".debug_" + name, err}
			}
		}
	}
	return d, nil
}

// buildIDNote returns the build-id in a note section, nil if there is none.
func buildIDNote(note []byte) []byte {
	id, err := elfx.BuildIDNote(note)
	if err != nil {
		return nil
	}
	return id
}
