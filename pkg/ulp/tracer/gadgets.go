package tracer

import (
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

// FindGadgets searches executable memory, such as libc's text, for the instructions that Syscalls and Call need. They are
// at the same offset in every process with the same library. It stops when it has all; without [Gadgets.Store] (which
// only Call needs) it is content too. Ranges that cannot be read are left out; no more than 256 MiB are read.
func FindGadgets(mem io.ReaderAt, ranges []Range) (Gadgets, error) {
	var g Gadgets
	var unread error
	budget := uint64(gadgetMost)
	for _, r := range ranges {
		if r.End <= r.Start || r.Start > 1<<63-1 {
			continue
		}
		r.End = min(r.End, r.Start+budget)
		budget -= r.End - r.Start
		if err := g.search(mem, r); err != nil && unread == nil {
			unread = err
		}
		if g.complete() {
			return g, nil
		}
	}
	if !g.usable() {
		if unread != nil {
			return Gadgets{}, fmt.Errorf("in %d ranges: %w: %w", len(ranges), ErrGadget, unread)
		}
		return Gadgets{}, fmt.Errorf("in %d ranges: %w", len(ranges), ErrGadget)
	}
	return g, nil
}

// search looks through one range, in chunks that overlap.
func (g *Gadgets) search(mem io.ReaderAt, r Range) error {
	buf := make([]byte, min(gadgetChunk, r.End-r.Start))
	for at := r.Start; at < r.End && !g.complete(); at += gadgetChunk - gadgetOverlap {
		b := buf[:min(uint64(len(buf)), r.End-at)]
		if _, err := mem.ReadAt(b, int64(at)); err != nil {
			return fmt.Errorf("reading %#x: %w", at, err)
		}
		g.scan(b, at)
		if r.End-at <= gadgetChunk {
			break
		}
	}
	return nil
}
