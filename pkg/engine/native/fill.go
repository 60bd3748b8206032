package native

import (
	"fmt"
	"iter"
	"slices"
)

// fill writes the contents of the regions. An engine that is killed meanwhile leaves what the next one knows by the mark. By
// the first page it knows that all the rest is there, which is why that comes last.
func (r *run) fill() error {
	for _, rg := range r.regions {
		if err := r.fillPart(rg, content{0, rg.mark()}); err != nil {
			return err
		}
		for c := range rg.parts(r.full) {
			if err := r.fillPart(rg, c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) fillPart(rg *region, c content) error {
	r.step("fill")
	if _, err := r.mem.WriteAt(c.data, int64(rg.base+c.off)); err != nil {
		return fmt.Errorf("filling memory: %w: %w", ErrRefused, gone(err))
	}
	return nil
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

// parts yields what is to be written into a region, the first page last. Fresh memory is all zeros, which need not be written;
// in a file's pages they have to be, too, if full is set.
func (rg *region) parts(full bool) iter.Seq[content] {
	return func(yield func(content) bool) {
		contents, first := rg.contents, rg.first()
		if full {
			contents = rg.whole()
			first = contents[0].data[:pageSize]
		}
		for i, c := range contents {
			if i == 0 {
				c = content{uint64(len(first)), c.data[len(first):]}
			}
			if full && !rg.canWrite(c.off) {
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
	return slices.ContainsFunc(rg.writable, func(e extent) bool { return off-e.off < e.size })
}

// pages is how many pages have to be written.
func (rg *region) pages(full bool) (n int) {
	for c := range rg.parts(full) {
		n += int(pageUp(uint64(len(c.data))) / pageSize)
	}
	return n
}
