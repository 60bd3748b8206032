package inject

import (
	"context"
	"debug/elf"
	"sort"

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
)

// Encodings in .eh_frame_hdr, of which every linker uses these.
const (
	encUdata4      = 0x03
	encDataSdata4  = 0x3b
	frameHeaderLen = 12
	maxFrames      = 1 << 20
)

// frameSize returns how long a function is by its unwind information, which stripped libraries have too; 0: not known.
// What does not have the usual form is not known.
func (v *view) frameSize(ctx context.Context, l *process.Library, entry uint64) (uint64, error) {
	at, size, err := v.programHeader(ctx, l, elf.PT_GNU_EH_FRAME)
	if err != nil || size < frameHeaderLen || !l.Contains(at, size) {
		return 0, err
	}
	var head [frameHeaderLen]byte
	if _, err := v.m.ReadAt(ctx, head[:], at); err != nil {
		return 0, err
	}
	count := uint64(le.Uint32(head[8:]))
	if head[2] != encUdata4 || head[3] != encDataSdata4 || count > maxFrames || size < frameHeaderLen+8*count {
		return 0, nil
	}
	table := make([]byte, 8*count)
	if _, err := v.m.ReadAt(ctx, table, at+frameHeaderLen); err != nil {
		return 0, err
	}
	place := func(i int) uint64 { return at + uint64(int64(int32(le.Uint32(table[4*i:])))) }
	i := sort.Search(int(count), func(i int) bool { return place(2*i) >= entry })
	if i == int(count) || place(2*i) != entry {
		return 0, nil
	}
	var fde [16]byte // length, distance to the CIE, first address relative to itself, size
	at = place(2*i + 1)
	if !l.Contains(at, 16) {
		return 0, nil
	}
	if _, err := v.m.ReadAt(ctx, fde[:], at); err != nil {
		return 0, err
	}
	if at+8+uint64(int64(int32(le.Uint32(fde[8:])))) != entry {
		return 0, nil
	}
	return uint64(le.Uint32(fde[12:])), nil
}
