package hotpatch

import (
	"cmp"
	"slices"
	"sort"
)

// GCC moves the blocks of a function that are rarely executed to another section, and names them
// NAME.cold. Replacing the function replaces its cold part as well, as long as only the function
// itself jumps there. That is how compilers make it, and the code shows whether it is so.

// PartsVersion changes when the same code could get another answer than before.
const PartsVersion = 1

// ErrEntered is the reason that something else leads into a part of a function.
var ErrEntered error = &Error{Why: "code of another function may jump into it"}

// Range is a range of addresses; To is not included.
type Range struct{ From, To uint64 }

func (r Range) has(at uint64) bool { return at >= r.From && at < r.To }

// Part is a cold part of a function.
type Part struct {
	Range
	Own []Range // the code of the function, with all its parts
}

// Entered reports for each part whether code that is not the function's own may lead into it. Parts
// must not overlap. Functions that cannot be decoded are searched byte by byte: what looks like a
// branch there counts as one.
func (t *Text) Entered(parts []Part) ([]bool, error) {
	order := make([]int, len(parts))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(parts[a].From, parts[b].From) })
	entered := make([]bool, len(parts))
	note := func(from, to uint64) bool { //nolint:unparam // as near and anywhere want it
		i := sort.Search(len(order), func(i int) bool { return parts[order[i]].To > to })
		if i == len(order) || !parts[order[i]].has(to) {
			return true
		}
		p := &parts[order[i]]
		if !slices.ContainsFunc(p.Own, func(r Range) bool { return r.has(from) }) {
			entered[order[i]] = true
		}
		return true
	}
	loose := func(from, to uint64) {
		code := t.Code[from-t.Addr : to-t.Addr]
		near(code, from, note)
		anywhere(code, from, note)
	}
	at, end := t.Addr, t.Addr+uint64(len(t.Code))
	if t.Frames != nil {
		err := t.Frames.functions(at, end, func(entry, size uint64) {
			if entry < at || size > MaxFunction || entry+size > end {
				return // searched byte by byte
			}
			loose(at, entry)
			if !leadsOf(t.Code[entry-t.Addr:][:size], entry, note) {
				loose(entry, entry+size)
			}
			at = entry + size
		})
		if err != nil {
			return nil, err
		}
	}
	loose(at, end)
	for _, o := range t.Others {
		near(o.Bytes, o.Addr, note)
		anywhere(o.Bytes, o.Addr, note)
	}
	return entered, nil
}

// leadsOf calls note for each branch of a function and for each address that it takes. It returns
// false if the function cannot be decoded.
func leadsOf(code []byte, addr uint64, note func(from, to uint64) bool) bool {
	var leads [][2]uint64
	for off := 0; off < len(code); {
		in, why := decode(code, off)
		if why != "" {
			return false
		}
		from := addr + uint64(off)
		switch {
		case in.leads():
			leads = append(leads, [2]uint64{from, addr + uint64(int64(in.target))})
		case in.rip != 0:
			leads = append(leads,
				[2]uint64{from, from + uint64(in.size) + distance(code[off+in.rip:])})
		}
		off += in.size
	}
	for _, l := range leads {
		note(l[0], l[1])
	}
	return true
}
