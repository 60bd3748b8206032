package native

import "iter"

// pieces returns the parts of a region that a piece is mapped for: all but what is writable.
func (rg *region) pieces(f *File) []extent {
	most := pageUp(f.size) - pieceAt
	var list []extent
	for _, e := range rg.code() {
		for off := e.off; off < e.off+e.size; {
			size := min(most, e.off+e.size-off)
			if off == 0 {
				size = pageSize
			}
			list = append(list, extent{off, size})
			off += size
		}
	}
	return list
}

// code returns what of a region is not writable.
func (rg *region) code() []extent {
	var list []extent
	at := uint64(0)
	for _, e := range rg.writable {
		if at < e.off {
			list = append(list, extent{at, e.off - at})
		}
		at = e.off + e.size
	}
	return append(list, extent{at, rg.size - at})
}

// pagesOf yields the ranges of pages that are not all zero, as fresh memory is.
func pagesOf(data []byte) iter.Seq2[int, int] {
	return func(yield func(from, to int) bool) {
		from := 0
		for at := 0; at < len(data); at += pageSize {
			if !zero(data[at:min(at+pageSize, len(data))]) {
				continue
			}
			if from < at && !yield(from, at) {
				return
			}
			from = at + pageSize
		}
		if from < len(data) {
			yield(from, len(data))
		}
	}
}

// segments yields what is to be written into a region, the first page last. If the memory is not
// all zeros yet, as a file's pages are not, zeros are written, too.
func (rg *region) segments(zeroed bool) iter.Seq[content] {
	return func(yield func(content) bool) {
		contents, first := rg.contents, rg.first()
		if !zeroed {
			contents = rg.whole()
			first = contents[0].data[:pageSize]
		}
		for i, c := range contents {
			if i == 0 {
				c = content{uint64(len(first)), c.data[len(first):]}
			}
			if !zeroed && !rg.canWrite(c.off) {
				if len(c.data) > 0 && !yield(c) {
					return
				}
				continue
			}
			for from, to := range pagesOf(c.data) {
				if !yield(content{c.off + uint64(from), c.data[from:to]}) {
					return
				}
			}
		}
		yield(content{0, first})
	}
}

// whole returns all of a region's pages, code and variables apart from each other.
func (rg *region) whole() []content {
	all := make([]byte, rg.size)
	for _, c := range rg.contents {
		copy(all[c.off:], c.data)
	}
	var list []content
	for _, e := range append(rg.code(), rg.writable...) {
		list = append(list, content{e.off, all[e.off:][:e.size]})
	}
	return list
}

// canWrite reports whether the process may write to a part of a region.
func (rg *region) canWrite(off uint64) bool {
	return inExtents(rg.writable, off)
}

// pages returns how many pages have to be written.
func (rg *region) pages(zeroed bool) (n int) {
	for c := range rg.segments(zeroed) {
		n += int(pageUp(uint64(len(c.data))) / pageSize)
	}
	return n
}
