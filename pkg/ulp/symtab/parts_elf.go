package symtab

import (
	"debug/elf"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/internal/hotpatch"
)

// IsEntered reports whether code of other functions is known to lead into the cold part at an
// address. If nothing is known, it is what compilers make: the function's own.
func (l *Library) IsEntered(addr uint64) bool {
	why, _ := l.parts.find(addr)
	return why != ""
}

// findParts finds the cold parts of functions into which other code may lead.
func (p *prover) findParts(l *Library) (proofs, error) {
	ranges, cold := map[string][]hotpatch.Range{}, map[string][]hotpatch.Range{}
	add := func(to map[string][]hotpatch.Range, name string, r *row) {
		at := hotpatch.Range{From: r.value, To: r.value + r.size}
		if !slices.Contains(to[name], at) {
			to[name] = append(to[name], at)
		}
	}
	for t, r := range l.symbols.each() {
		if r.flags&flagUndefined != 0 || elf.ST_TYPE(r.info) != elf.STT_FUNC {
			continue
		}
		if of, isCold, _ := CloneOf(t.name(r)); isCold {
			add(cold, of, r)
			add(ranges, of, r)
		}
	}
	if len(cold) == 0 {
		return proofs{}, nil
	}
	for t, r := range l.symbols.each() {
		if name := t.name(r); cold[name] != nil && r.flags&flagUndefined == 0 &&
			elf.ST_TYPE(r.info) == elf.STT_FUNC {
			add(ranges, name, r)
		}
	}
	var at []uint64
	for i := range p.texts {
		entered, err := p.enteredParts(&p.texts[i], cold, ranges)
		if err != nil {
			return nil, err
		}
		at = append(at, entered...)
	}
	slices.Sort(at)
	return proofsOf(map[string][]uint64{whyNot(hotpatch.ErrEntered): slices.Compact(at)}), nil
}

// enteredParts is findParts for the parts that are in a segment.
func (p *prover) enteredParts(t *text, cold, ranges map[string][]hotpatch.Range) ([]uint64, error) {
	var parts []hotpatch.Part
	var at []uint64
	for of, list := range cold {
		for _, r := range list {
			if r.From < t.addr || r.To <= r.From || r.To-t.addr > uint64(len(t.pages)) {
				continue
			}
			parts = append(parts, hotpatch.Part{Range: r, Own: ranges[of]})
		}
	}
	if len(parts) == 0 {
		return nil, nil
	}
	all := &hotpatch.Text{Code: t.pages, Addr: t.addr, Frames: p.frames}
	for i := range p.texts {
		if o := &p.texts[i]; o != t {
			all.Others = append(all.Others, hotpatch.Code{Bytes: o.pages, Addr: o.addr})
		}
	}
	entered, err := all.Entered(parts)
	if err != nil {
		return nil, err
	}
	for i, is := range entered {
		if is {
			at = append(at, parts[i].From)
		}
	}
	return at, nil
}

// CloneOf returns the name of the function of which the compiler made the one of a name: scale for
// scale.constprop.0, scale.isra.1 and scale.part.2, which are copies with other parameters or parts
// that are called; and scale.part.2 for scale.part.2.cold, whose code only the function itself
// jumps to.
func CloneOf(name string) (of string, cold, ok bool) {
	parts := strings.Split(name, ".")
	if len(parts) == 1 || parts[0] == "" {
		return "", false, false
	}
	last := len(parts) - 1
	if strings.Trim(parts[last], "0123456789") == "" && last > 1 {
		last-- // GCC up to 8 numbers them
	}
	if parts[last] == "cold" {
		return strings.Join(parts[:last], "."), true, true
	}
	for i, p := range parts {
		if i > 0 && (p == "isra" || p == "constprop" || p == "part") {
			return strings.Join(parts[:i], "."), false, true
		}
	}
	return "", false, false
}
