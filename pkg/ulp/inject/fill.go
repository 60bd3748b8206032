package inject

import (
	"fmt"
	"iter"
)

// fill writes the contents of the regions. An engine that is killed meanwhile leaves what the next one knows by the mark. By
// the first page it knows that all the rest is there, which is why that comes last.
func (r *run) fill() error {
	for _, rg := range r.regions {
		if err := r.fillPart(rg, content{0, rg.mark()}); err != nil {
			return err
		}
		first := rg.first()
		for i, c := range rg.contents {
			if i == 0 {
				c = content{uint64(len(first)), c.data[len(first):]}
			}
			for from, to := range pagesOf(c.data) {
				if err := r.fillPart(rg, content{c.off + uint64(from), c.data[from:to]}); err != nil {
					return err
				}
			}
		}
		if err := r.fillPart(rg, content{0, first}); err != nil {
			return err
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

// pages is how many pages the contents have that are not all zero.
func (rg *region) pages() (n int) {
	for _, c := range rg.contents {
		for from, to := range pagesOf(c.data) {
			n += int(pageUp(uint64(to-from)) / pageSize)
		}
	}
	return n
}
