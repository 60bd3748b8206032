package native

import (
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

const (
	lowestRoom  = 1 << 20
	highestRoom = 0x7ffffffff000
	reach       = 1<<31 - 1<<20 // of a near jump, less some
	aside       = 64 << 20      // how far to stay away from where the kernel puts the next mapping
)

// room finds a free range of size bytes, within reach of all of [near.Start, near.End) if near is
// not nil. The kernel puts new mappings at the upper end of the gap that the libraries leave below,
// so the range is some way down from there: what the process maps between now and the stop shall
// not take it. A signed address goes before any other: see region. The heap and the stack keep what
// they may grow into.
func room(maps []rtld.Mapping, size uint64, near *rtld.Segment) (uint64, bool) {
	low, high := uint64(lowestRoom), uint64(highestRoom)
	if near != nil {
		if near.End > reach {
			low = max(low, near.End-reach)
		}
		high = min(high, near.Start+reach)
	}
	need := pageUp(size) + 2*pageSize // with a page that stays free on both sides
	var best, bestDistance uint64
	var bestSigned bool
	prev := rtld.Mapping{End: lowestRoom}
	for i := range len(maps) + 1 {
		next := rtld.Mapping{Start: highestRoom}
		if i < len(maps) {
			next = maps[i]
		}
		from, to := max(gapStart(prev, next), low), min(gapEnd(prev, next), high)
		if prev = next; from >= to || to-from < need {
			continue
		}
		at := pageDown(to - need)
		if at > from+aside {
			at -= aside
		}
		if at = max(at, pageUp(from)) + pageSize; at+size > to {
			continue
		}
		at, ok := signed(pageUp(from)+pageSize, at)
		d := ^(to - from) // the largest gap
		if near != nil {
			d = max(at, near.Start) - min(at, near.Start)
		}
		if best == 0 || ok && !bestSigned || ok == bestSigned && d < bestDistance {
			best, bestDistance, bestSigned = at, d, ok
		}
	}
	return best, best != 0
}

// gapStart and gapEnd are the free range between two mappings, with one half left to a heap or a
// stack that may grow.
func gapStart(prev, next rtld.Mapping) uint64 {
	if prev.Path == "[heap]" && next.Start > prev.End {
		return prev.End + (next.Start-prev.End)/2
	}
	return prev.End
}

func gapEnd(prev, next rtld.Mapping) uint64 {
	if next.Path == "[stack]" && next.Start > prev.End {
		return prev.End + (next.Start-prev.End)/2
	}
	return next.Start
}

// span is the whole range of a library's image.
func span(l *rtld.Library) *rtld.Segment {
	return &rtld.Segment{Start: l.Segments[0].Start, End: l.Segments[len(l.Segments)-1].End}
}
