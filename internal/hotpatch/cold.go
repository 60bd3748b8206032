package hotpatch

import (
	"slices"
	"sort"
)

// A thread in f.cold is in f. Only .symtab has the name, which stripped libraries lack and no
// process has in memory; the unwind information has the part as a function of its own. It shows by
// the jumps that lead there: those of f, by themselves or by a jump table, and of nobody else; or
// by jumps back into the middle of f.

// ErrParts is the reason that a part of a function may be anywhere.
var ErrParts error = &Error{Why: "it jumps to code whose extent is not known"}

// Parts finds the code that belongs to the function at an address although it is outside of its
// bytes, which are given as they are without detours. A function that nothing leads to but a jump
// at the end of this one counts as a part of it.
func (t *Text) Parts(entry uint64, code []byte) ([]Range, error) {
	own := Range{entry, entry + uint64(len(code))}
	outside, err := t.leadsOutside(own, code)
	if err != nil || len(outside) == 0 {
		return nil, err
	}
	var parts []Range
	var unsure []Part
	for _, p := range outside {
		back, others, err := t.leadsBack(p, own)
		if err != nil {
			return nil, err
		}
		if _, named := slices.BinarySearch(t.Symbols, p.From); back {
			parts = append(parts, p)
		} else if !others && !named && !t.held.has(p.From-t.Addr) {
			unsure = append(unsure, Part{p, []Range{own, p}})
		}
	}
	if len(unsure) == 0 {
		return parts, nil
	}
	entered, err := t.Entered(unsure)
	for i, p := range unsure {
		if err == nil && !entered[i] {
			parts = append(parts, p.Range)
		}
	}
	return parts, err
}

// leadsBack reports whether code jumps into the middle of a function, and whether it jumps into the
// middle of others, as parts of these do. What cannot be decoded does neither.
func (t *Text) leadsBack(p, own Range) (back, others bool, err error) {
	code := t.Code[p.From-t.Addr : p.To-t.Addr]
	for off := 0; off < len(code); {
		in, why := decode(code, off)
		if why != "" {
			return false, false, nil
		}
		off += in.size
		to := p.From + uint64(int64(in.target))
		if !in.leads() || in.flow == call || p.has(to) {
			continue
		}
		if to > own.From && to < own.To {
			return true, false, nil
		}
		f, ok, e := t.extent(to)
		if e != nil {
			return false, false, e
		}
		others = others || ok && to != f.From && !t.isStart(to)
	}
	return false, others, nil
}

// leadsOutside returns the extents of what a function jumps to outside of itself.
func (t *Text) leadsOutside(own Range, code []byte) ([]Range, error) {
	var jumps, tables []uint64
	var leas []uint64
	anywhere := false
	for off := 0; off < len(code); {
		in, why := decode(code, off)
		if why != "" {
			return nil, no(why, "at +%#x", off)
		}
		switch to := own.From + uint64(int64(in.target)); {
		case in.leads():
			if in.flow != call && !own.has(to) {
				jumps = append(jumps, to)
			}
		case in.flow == jumpAnywhere:
			anywhere = anywhere || in.rip == 0
		case in.rip != 0 && in.modrm == in.opcode+1 && code[off+in.opcode] == 0x8d:
			leas = append(leas, own.From+uint64(off+in.size)+distance(code[off+in.rip:]))
		}
		off += in.size
	}
	if anywhere {
		left := maxTable
		for _, table := range leas {
			t.table(table, table, func(target uint64) bool {
				if !own.has(target) {
					tables = append(tables, target)
				}
				left--
				return left > 0
			})
		}
	}
	var list []Range
	for i, to := range append(jumps, tables...) {
		if to-t.Addr >= uint64(len(t.Code)) {
			continue // of another segment: the PLT, or a detour
		}
		p, ok, err := t.extent(to)
		switch {
		case err != nil:
			return nil, err
		case ok && !own.has(p.From) && !slices.Contains(list, p):
			list = append(list, p)
		case !ok && i < len(jumps) && !t.isStart(to):
			return nil, ErrParts
		}
	}
	return list, nil
}

// extent returns the function that an address is in, by the unwind information.
func (t *Text) extent(at uint64) (p Range, ok bool, err error) {
	if t.Frames == nil {
		return p, false, nil
	}
	i := sort.Search(len(t.Frames.table)/8, func(i int) bool { return t.Frames.place(2*i) > at }) -
		1
	if i < 0 {
		return p, false, nil
	}
	p.From = t.Frames.place(2 * i)
	size, err := t.Frames.Size(p.From)
	p.To = p.From + size
	ok = err == nil && p.From >= t.Addr && size <= MaxFunction && p.has(at) &&
		p.To-t.Addr <= uint64(len(t.Code))
	return p, ok, err
}
