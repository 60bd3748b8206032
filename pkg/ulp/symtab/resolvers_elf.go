package symtab

import (
	"debug/elf"
	"maps"
	"slices"

	"github.com/lpbuild/lpbuild/internal/elfx"
	"github.com/lpbuild/lpbuild/internal/hotpatch"
)

// Bounds of what is read for one resolver, which mostly is one function.
const (
	maxFollowed = 32      // functions
	maxSlots    = 1 << 10 // of a table of functions
)

// findResolvers finds out what the code of each indirect function can return.
func (p *prover) findResolvers(l *Library, f *elfx.File) []Resolver {
	slots, irelative := map[uint64]uint64{}, map[uint64]bool{}
	p.relocations(f, l, func(slot, target uint64, kind elf.R_X86_64) {
		switch kind {
		case elf.R_X86_64_IRELATIVE:
			irelative[target] = true
		case elf.R_X86_64_RELATIVE, elf.R_X86_64_64, elf.R_X86_64_GLOB_DAT, elf.R_X86_64_JMP_SLOT:
			slots[slot] = target
		}
	})
	at := l.symbols.indirect()
	maps.Copy(at, irelative)
	if len(at) == 0 {
		return []Resolver{}
	}
	functions := map[uint64]uint64{} // and their sizes
	for _, r := range l.symbols.each() {
		if kind := elf.ST_TYPE(r.info); r.flags&flagUndefined == 0 &&
			(kind == elf.STT_FUNC || kind == elf.STT_GNU_IFUNC) {
			functions[r.value] = max(functions[r.value], r.size)
		}
	}
	var list []Resolver
	for _, addr := range slices.Sorted(maps.Keys(at)) {
		if len(list) == maxResolvers {
			break
		}
		list = append(list, p.resolve(addr, functions, slots, at))
	}
	return list
}

// resolve reads the code of a resolver, and of what it calls.
func (p *prover) resolve(addr uint64, functions, slots map[uint64]uint64,
	resolvers map[uint64]bool) Resolver {
	r := Resolver{at: addr}
	returns := map[uint64]bool{}
	take := func(at uint64) bool {
		_, is := functions[at]
		if is = is && !resolvers[at]; is {
			returns[at] = true
		}
		return is
	}
	todo := []uint64{addr}
	for i := 0; i < len(todo); i++ {
		code, ok := p.function(todo[i], functions[todo[i]])
		if !ok {
			if i > 0 {
				continue // an entry of the PLT: functions of other libraries do not know ours
			}
			r.why = whyNot(hotpatch.ErrSize)
			return r
		}
		leads, err := hotpatch.LeadsOf(code, todo[i])
		if err != nil {
			r.why = whyNot(err)
			return r
		}
		for _, at := range leads.Taken {
			for n := range uint64(maxSlots) { // a table, unless it is a function
				if take(at) || !take(slots[at+8*n]) {
					break
				}
			}
		}
		for _, at := range leads.Read {
			take(slots[at])
		}
		for _, at := range leads.Entered {
			if len(todo) < maxFollowed && !slices.Contains(todo, at) {
				todo = append(todo, at)
			}
		}
	}
	switch {
	case len(returns) == 0:
		r.why = whyNot(hotpatch.ErrReturns)
	case len(todo) == maxFollowed, len(returns) > maxReturns:
		r.why = whyNot(hotpatch.ErrText)
	default:
		r.Returns = slices.Sorted(maps.Keys(returns))
	}
	return r
}

// function returns the code of a function; size is what its symbols say.
func (p *prover) function(addr, size uint64) ([]byte, bool) {
	if size == 0 && p.frames != nil {
		size, _ = p.frames.Size(addr)
	}
	if size == 0 || size > hotpatch.MaxFunction {
		return nil, false
	}
	for i := range p.texts {
		if code := p.texts[i].at(addr, size); code != nil {
			return code, true
		}
	}
	return nil, false
}
