package tracer

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Pages that a tracer has touched are known by their content, down to the last bit: had the program used them since, they would
// have another one. Either they are full of unusedText; or, where the tracer was killed or has left the thread to its sigframe, they are a
// block: a sigframe with all that belongs to it, whole pages, with a header that has a checksum of all but those words that the
// thread stores results in. Of a function that was called nothing is known but by a tracer that has lived through it.

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

// pages returns a sigframe as whole pages up to the end of its area, with a header.
func (ex *excursion) pages(room *scratch) (at uint64, b []byte) {
	f := &ex.sigframe
	at = ex.lowest()
	b = room.take(int(ex.area.End - at))
	copy(b[f.base-at:], f.data)
	if len(f.slots) > blockSlots {
		return at, b
	}
	copy(b, blockMagic)
	binary.LittleEndian.PutUint32(b[16:], uint32(uint64(len(b))/pageSize))
	binary.LittleEndian.PutUint32(b[20:], uint32(len(f.slots)))
	for i, slot := range f.slots {
		binary.LittleEndian.PutUint16(b[blockHeader+2*i:], uint16((f.base-at+uint64(slot))/8))
	}
	binary.LittleEndian.PutUint64(b[24:], blockSum(b))
	return at, b
}

// lowest is where the block begins.
func (ex *excursion) lowest() uint64 { return (ex.sigframe.base - blockRoom) &^ (pageSize - 1) }

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
			a, c = crc32.Update(a, crc32.IEEETable, b[from:to]), crc32.Update(c, castagnoli(), b[from:to])
		}
		from = 8*w + 8
	}
	return uint64(a)<<32 | uint64(c)
}

// castagnoli is made when it is needed: that takes a tenth of the start of a program.
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

// isBlock reports whether b, of the length that its header says, is a block as a tracer has written it.
func isBlock(b []byte) bool {
	for i := range int(binary.LittleEndian.Uint32(b[20:])) {
		if int(binary.LittleEndian.Uint16(b[blockHeader+2*i:])) >= len(b)/8 {
			return false
		}
	}
	return blockSum(b) == binary.LittleEndian.Uint64(b[24:])
}

// ourPages returns how many pages from an address on, at most n, have the content that a tracer gave them.
func (t *Tracee) ourPages(th *Thread, at, n uint64) uint64 {
	b := t.scratch.take(int(pageSize))
	if stackRead(th.TID, at, b) != nil {
		return 0
	}
	if bytes.Equal(b, unusedPage) {
		return 1
	}
	pages := blockLen(b)
	if pages == 0 || pages > n {
		return 0
	}
	whole := t.scratch.take(int(pages * pageSize))
	if stackRead(th.TID, at, whole) != nil || blockLen(whole) != pages || !isBlock(whole) {
		return 0
	}
	return pages
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

// leaveArea marks what a thread that is back has touched on its excursion as unused again.
func (t *Tracee) leaveArea(th *Thread, ex *excursion) error {
	t.step("restore:stack")
	ranges := []Range{{ex.lowest(), ex.area.End}}
	pages, err := t.pagemap(Range{ex.area.Start, ex.lowest()})
	if err != nil {
		return err
	}
	for i, p := range pages {
		if at := ex.area.Start + uint64(i)*pageSize; p.touched() {
			ranges = append(ranges, Range{at, at + pageSize})
		}
	}
	return markUnused(th.TID, ranges...)
}
