package symtab

import (
	"debug/elf"
	"fmt"
	"maps"
	"slices"

	"github.com/lpbuild/lpbuild/internal/elfx"
	"github.com/lpbuild/lpbuild/internal/hotpatch"
)

// HasCallers reports whether it is known which functions have callers that rely on registers: the
// library was read with [LibraryOptions].Prove or Callers, or from a catalogue of such a one, by
// the same rules. It is false for architectures other than x86_64.
func (l *Library) HasCallers() bool { return l.callers != nil }

// ReliedOn names a caller in the library that relies on registers which the function at an address
// happens to leave alone, so that no other code may take the function's place; "" if none is known.
func (l *Library) ReliedOn(addr uint64) (why string) {
	why, _ = l.callers.find(addr)
	return why
}

// proveCallers finds the functions that have such callers.
func (l *Library) proveCallers(f *elfx.File) error {
	if l.Arch != X86_64 {
		return nil
	}
	p, err := newProver(f)
	if err != nil {
		return err
	}
	l.callers, err = p.findCallers(l)
	return err
}

// findCallers asks the code of the library about all functions that its tables name.
func (p *prover) findCallers(l *Library) (proofs, error) {
	functions, nops := map[uint64]uint64{}, map[uint64]bool{} // and their sizes; those with NOPs
	for _, r := range l.symbols.each() {
		if r.flags&flagUndefined == 0 && elf.ST_TYPE(r.info) == elf.STT_FUNC {
			functions[r.value] = max(functions[r.value], r.size)
			nops[r.value] = nops[r.value] || r.flags&flagPatchable != 0
		}
	}
	byWhy := map[string][]uint64{}
	for i := range p.texts {
		t := &p.texts[i]
		all := &hotpatch.Text{Code: t.pages, Addr: t.addr, Frames: p.frames}
		relied, err := all.Reliances()
		if err != nil {
			return nil, err
		}
		if l.Livepatchable {
			all.Index()
		}
		for _, addr := range slices.Sorted(maps.Keys(functions)) {
			if addr < t.Vaddr || addr-t.Vaddr >= t.Filesz {
				continue
			}
			r, found := relied[addr]
			if !found && nops[addr] { // as the proof of an entry does it for the others
				r, found = all.Relied(addr, functions[addr])
			}
			switch {
			case t.pages == nil && nops[addr]:
				byWhy[manyCallers] = append(byWhy[manyCallers], addr)
			case found:
				why := l.reliance(r, len(byWhy))
				byWhy[why] = append(byWhy[why], addr)
			}
		}
	}
	for _, at := range byWhy {
		slices.Sort(at)
	}
	return proofsOf(byWhy), nil
}

const (
	manyCallers = "its library is too large to be searched for callers that rely on registers " +
		"which it leaves alone"
	maxReliance   = maxVerdicts / 2 // callers that are named
	maxCallerName = 40              // bytes
)

// reliance returns which callers rely on what. known is how many answers there are already.
func (l *Library) reliance(r hotpatch.Reliance, known int) string {
	if r.Register == "" || known > maxReliance {
		return hotpatch.ErrRelied.Error()
	}
	through := ""
	if r.Through != 0 {
		through = " to " + l.functionAt(r.Through)
	}
	return fmt.Sprintf("%s keeps a value in %s across the call%s at %#x, as only the present "+
		"code allows", l.functionAt(r.Call), r.Register, through, r.Call)
}

// functionAt names the function that an address is in.
func (l *Library) functionAt(addr uint64) string {
	name := "a function without a name"
	for t, row := range l.symbols.each() {
		if row.flags&flagUndefined == 0 && elf.ST_TYPE(row.info) == elf.STT_FUNC &&
			addr-row.value < max(row.size, 1) {
			name = t.name(row)
		}
	}
	if len(name) > maxCallerName {
		name = name[:maxCallerName] + "..."
	}
	return name
}
