package elfx

import (
	"debug/elf"
	"errors"
)

const (
	noteHeader   = 12
	noteBuildID  = 3 // NT_GNU_BUILD_ID
	maxBuildID   = 64
	gnuNoteOwner = "GNU\x00"
)

// BuildID returns the descriptor of the first GNU build-id note, nil if there is none.
func (f *File) BuildID() ([]byte, error) {
	for i := range f.Sections {
		s := &f.Sections[i]
		if s.Type != elf.SHT_NOTE {
			continue
		}
		if err := f.charge(s.Offset, s.Size, "notes"); err != nil {
			return nil, err
		}
		data, err := f.data(s, "notes")
		if err != nil {
			return nil, err
		}
		if id, err := buildID(data, s); id != nil || err != nil {
			return id, err
		}
	}
	return nil, nil
}

// buildID looks through one section of notes.
func buildID(data []byte, s *Section) ([]byte, error) {
	align := int64(4)
	if s.Align == 8 { // .note.gnu.property
		align = 8
	}
	for off := int64(0); off < int64(len(data)); {
		rest := data[off:]
		if len(rest) < noteHeader {
			return nil, fail(s.Offset+uint64(off), "note", errBounds)
		}
		nameSize, descSize := int64(le.Uint32(rest)), int64(le.Uint32(rest[4:]))
		desc := (noteHeader + nameSize + align - 1) &^ (align - 1)
		if desc+descSize > int64(len(rest)) {
			return nil, fail(s.Offset+uint64(off), "note", errBounds)
		}
		if le.Uint32(rest[8:]) == noteBuildID &&
			string(rest[noteHeader:noteHeader+nameSize]) == gnuNoteOwner {
			if descSize == 0 || descSize > maxBuildID {
				return nil, fail(s.Offset+uint64(off), "build-id",
					errors.New("length is not 1 to 64 bytes"))
			}
			return rest[desc : desc+descSize : desc+descSize], nil
		}
		off += (desc + descSize + align - 1) &^ (align - 1)
	}
	return nil, nil
}

// BuildIDNote returns the build-id in the content of a note section, nil if there is none.
func BuildIDNote(note []byte) ([]byte, error) { return buildID(note, &Section{}) }
