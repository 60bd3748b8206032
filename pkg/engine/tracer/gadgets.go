package tracer

import (
	"cmp"
	"fmt"
	"io"
)

// Range is a part of the target's address space, End not included.
type Range struct{ Start, End uint64 }

// Bounds of a search.
const (
	gadgetChunk   = 1 << 16 // libc has all that is needed in one or two
	gadgetOverlap = 32      // longer than any gadget
	gadgetMost    = 256 << 20
)

// FindGadgets searches executable memory, such as libc's text, for the instructions that Syscalls
// and Call need. They are at the same offset in every process with the same library. It stops when
// it has all; without [Gadgets.Store] (which only Call needs) it is content too. Ranges that cannot
// be read are left out; no more than 256 MiB are read.
func FindGadgets(mem io.ReaderAt, ranges []Range) (Gadgets, error) {
	var g Gadgets
	unread := search(mem, ranges, g.scan, g.complete)
	if !g.canCall() {
		unread = cmp.Or(search(mem, ranges, g.scanStores, g.canCall), unread)
	}
	if !g.usable() {
		if unread != nil {
			return Gadgets{}, fmt.Errorf("in %d ranges: %w: %w", len(ranges), ErrGadget, unread)
		}
		return Gadgets{}, fmt.Errorf("in %d ranges: %w", len(ranges), ErrGadget)
	}
	return g, nil
}

// search looks through ranges, in chunks that overlap, until it is done. The error is that of the
// first range that cannot be read.
func search(mem io.ReaderAt, ranges []Range, scan func(b []byte, at uint64),
	done func() bool) (unread error) {
	buf := make([]byte, gadgetChunk)
	budget := uint64(gadgetMost)
	for _, r := range ranges {
		if r.End <= r.Start || r.Start > 1<<63-1 {
			continue
		}
		r.End = min(r.End, r.Start+budget)
		budget -= r.End - r.Start
		for at := r.Start; at < r.End && !done(); at += gadgetChunk - gadgetOverlap {
			b := buf[:min(gadgetChunk, r.End-at)]
			if _, err := mem.ReadAt(b, int64(at)); err != nil {
				unread = cmp.Or(unread, fmt.Errorf("reading %#x: %w", at, err))
				break
			}
			scan(b, at)
			if r.End-at <= gadgetChunk {
				break
			}
		}
	}
	return unread
}
