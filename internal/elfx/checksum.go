package elfx

import (
	"bytes"
	"hash/crc32"
	"io"
	"sync"
)

// castagnoli is a polynomial that processors know. The table is made when it is needed: at the
// start of a program it would take a tenth of the time.
var castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })

// Checksum returns the CRC-32C of a file. It tells files apart that have one build-id, but not
// those that somebody has made to have one checksum.
func Checksum(r io.Reader) (uint32, error) {
	h := crc32.New(castagnoli())
	_, err := io.CopyBuffer(h, r, make([]byte, 64<<10))
	return h.Sum32(), err
}

// Checksum returns that of the whole image. Unlike its parts, the image may be read for this
// although it was read before.
func (f *File) Checksum() (uint32, error) {
	if f.Image != nil {
		return Checksum(bytes.NewReader(f.Image))
	}
	return Checksum(io.NewSectionReader(f.src, 0, int64(f.size)))
}
