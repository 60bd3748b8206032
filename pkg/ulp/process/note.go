package process

const (
	noteHeader  = 12
	noteBuildID = 3 // NT_GNU_BUILD_ID
	maxBuildID  = 64
)

// buildID returns a copy of the GNU build-id's descriptor, nil if there is no such note. In segments aligned to 8 bytes,
// which is for .note.gnu.property alone, notes are still aligned to 4 by some linkers; both are tried.
func buildID(notes []byte) ([]byte, error) {
	id, err := buildIDAligned(notes, 4)
	if id == nil {
		if other, err := buildIDAligned(notes, 8); err == nil && other != nil {
			return other, nil
		}
	}
	return id, err
}

func buildIDAligned(notes []byte, align uint64) ([]byte, error) {
	for len(notes) >= noteHeader {
		nameSize, descSize := uint64(le.Uint32(notes)), uint64(le.Uint32(notes[4:]))
		desc := (noteHeader + nameSize + align - 1) &^ (align - 1)
		if desc+descSize > uint64(len(notes)) {
			return nil, malformed("note is longer than its segment")
		}
		if le.Uint32(notes[8:]) == noteBuildID && string(notes[noteHeader:noteHeader+nameSize]) == "GNU\x00" {
			if descSize == 0 || descSize > maxBuildID {
				return nil, malformed("build-id of %d bytes", descSize)
			}
			return append([]byte(nil), notes[desc:desc+descSize]...), nil
		}
		next := (desc + descSize + align - 1) &^ (align - 1)
		notes = notes[min(next, uint64(len(notes))):]
	}
	return nil, nil
}
