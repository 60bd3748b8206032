package rtld

const (
	noteHeader  = 12
	noteBuildID = 3 // NT_GNU_BUILD_ID
	maxBuildID  = 64
)

// buildID returns a copy of the GNU build-id's descriptor and its offset, nil if there is no such
// note. In segments aligned to 8 bytes, which is for .note.gnu.property alone, notes are still
// aligned to 4 by some linkers; both are tried.
func buildID(notes []byte) (id []byte, off uint64, err error) {
	id, off, err = buildIDAligned(notes, 4)
	if id == nil {
		if other, off, err := buildIDAligned(notes, 8); err == nil && other != nil {
			return other, off, nil
		}
	}
	return id, off, err
}

func buildIDAligned(notes []byte, align uint64) (id []byte, off uint64, err error) {
	for uint64(len(notes)) >= noteHeader {
		nameSize, descSize := uint64(le.Uint32(notes)), uint64(le.Uint32(notes[4:]))
		desc := (noteHeader + nameSize + align - 1) &^ (align - 1)
		if desc+descSize > uint64(len(notes)) {
			return nil, 0, malformed("note is longer than its segment")
		}
		if le.Uint32(notes[8:]) == noteBuildID &&
			string(notes[noteHeader:noteHeader+nameSize]) == "GNU\x00" {
			if descSize == 0 || descSize > maxBuildID {
				return nil, 0, malformed("build-id of %d bytes", descSize)
			}
			return append([]byte(nil), notes[desc:desc+descSize]...), off + desc, nil
		}
		next := min((desc+descSize+align-1)&^(align-1), uint64(len(notes)))
		notes, off = notes[next:], off+next
	}
	return nil, 0, nil
}
