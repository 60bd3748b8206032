package tracer

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Pages that a tracer has touched are known by their content, down to the last bit: had the program
// used them since, they would have another one. Either they are full of unusedText; or, where the
// tracer was killed or has left the thread to its sigframe, they are a block: a sigframe with all
// that belongs to it, whole pages, with a header that has a checksum of all but those words that
// the thread stores results in. Of a function that was called nothing is known but by a tracer that
// has lived through it.

const (
	unusedText  = "lpbuild: unused "
	blockMagic  = "lpbuild sigframe"
	blockHeader = 32  // magic, number of pages, number of slots, checksum; followed by the slots
	blockPages  = 16  // more than any block has
	blockSlots  = 256 // likewise
)

// unusedPage is a page that is known to be unused.
var unusedPage = bytes.Repeat([]byte(unusedText), int(pageSize)/len(unusedText))

// blockRoom is what a block takes besides the sigframe, rounded up to pages.
const blockRoom = blockHeader + 2*blockSlots

// blockSum is the checksum of a block, without itself and the slots.
func blockSum(b []byte) uint64 {
	words := []int{3}
	for i := range int(binary.LittleEndian.Uint32(b[20:])) {
		words = append(words, int(binary.LittleEndian.Uint16(b[blockHeader+2*i:])))
	}
	slices.Sort(words)
	var a, c uint32
	from := 0
	for _, w := range append(words, len(b)/8) {
		if to := 8 * w; to > from {
			a, c = crc32.Update(a, crc32.IEEETable, b[from:to]),
				crc32.Update(c, castagnoli(), b[from:to])
		}
		from = 8*w + 8
	}
	return uint64(a)<<32 | uint64(c)
}

// castagnoli is made when a process is about to be stopped: it would take a tenth of the start of a
// program.
var castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })

// blockLen reports how many pages the block has that begins with a page; 0 if it is none.
func blockLen(page []byte) uint64 {
	if !bytes.HasPrefix(page, []byte(blockMagic)) {
		return 0
	}
	pages, slots := binary.LittleEndian.Uint32(page[16:]), binary.LittleEndian.Uint32(page[20:])
	if pages == 0 || pages > blockPages || slots > blockSlots {
		return 0
	}
	return uint64(pages)
}

// isBlock reports whether b, of the length that its header says, is a block as a tracer has written
// it.
func isBlock(b []byte) bool {
	for i := range int(binary.LittleEndian.Uint32(b[20:])) {
		if int(binary.LittleEndian.Uint16(b[blockHeader+2*i:])) >= len(b)/8 {
			return false
		}
	}
	return blockSum(b) == binary.LittleEndian.Uint64(b[24:])
}

// markUnused fills ranges of pages with what says that nobody uses them.
func markUnused(tid int, ranges ...Range) error {
	var local []unix.Iovec
	var remote []unix.RemoteIovec
	size := 0
	for _, r := range ranges {
		n := int(r.End - r.Start)
		remote = append(remote, unix.RemoteIovec{Base: uintptr(r.Start), Len: n})
		for size += n; n > 0; n -= len(unusedPage) {
			local = append(local, unix.Iovec{Base: &unusedPage[0], Len: uint64(len(unusedPage))})
		}
	}
	n, err := unix.ProcessVMWritev(tid, local, remote, 0)
	if err == nil && n != size {
		err = unix.EFAULT
	}
	return err
}
