package ulp

import (
	"debug/elf"
	"fmt"
	"maps"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/ulp/internal/elfx"
	"github.com/lpbuild/lpbuild/pkg/ulp/internal/prove"
)

// HasCallers reports whether it is known which functions with NOPs have callers that rely on registers: the library was read
// with [LibraryOptions].Prove or Callers, or from a catalogue of such a one, by the same rules. It is false for architectures
// other than x86_64.
func (l *Library) HasCallers() bool { return l.callers != nil }

// ReliedOn names a caller in the library that relies on registers which the function at an address happens to leave alone, so
// that no other code may take the function's place; "" if none is known. It is for functions with NOPs. Of others,
// [Library.EntryProof] says the same.
func (l *Library) ReliedOn(addr uint64) (why string) {
	why, _ = l.callers.find(addr)
	return why
}

// proveCallers finds the functions with NOPs that have such callers.
func (l *Library) proveCallers(f *elfx.File) error {
	if l.Arch != X86_64 {
		return nil
	}
	if !l.Livepatchable {
		l.callers = proofs{}
		return nil
	}
	p, err := newProver(f)
	if err != nil {
		return err
	}
	l.callers, err = p.findCallers(l)
	return err
}

// findCallers asks the code of the library about all functions with NOPs.
func (p *prover) findCallers(l *Library) (proofs, error) {
	functions := map[uint64]uint64{} // and their sizes
	for _, r := range l.symbols.each() {
		if r.flags&flagPatchable != 0 && r.flags&flagUndefined == 0 && elf.ST_TYPE(r.info) == elf.STT_FUNC {
			functions[r.value] = max(functions[r.value], r.size)
		}
	}
	byWhy := map[string][]uint64{}
	for i := range p.texts {
		t := &p.texts[i]
		all := &prove.Text{Code: t.pages, Addr: t.addr}
		indexed := false
		for _, addr := range slices.Sorted(maps.Keys(functions)) {
			switch {
			case addr < t.Vaddr || addr-t.Vaddr >= t.Filesz:
				continue
			case t.pages == nil:
				byWhy[manyCallers] = append(byWhy[manyCallers], addr)
				continue
			case !indexed:
				all.Index()
				indexed = true
			}
			if r, found := all.Relied(addr, functions[addr]); found {
				why := reliance(l, r, len(byWhy))
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
	manyCallers   = "its library is too large to be searched for callers that rely on registers which it leaves alone"
	maxReliance   = maxVerdicts / 2 // callers that are named
	maxCallerName = 80              // bytes
)

// reliance says who relies on what.
func reliance(l *Library, r prove.Reliance, known int) string {
	if r.Register == "" || known > maxReliance {
		return prove.ErrRelied.Error()
	}
	caller := "the code"
	for t, row := range l.symbols.each() {
		if row.flags&flagUndefined == 0 && elf.ST_TYPE(row.info) == elf.STT_FUNC && r.Call >= row.value && r.Call-row.value < row.size {
			caller = t.name(row)
		}
	}
	if len(caller) > maxCallerName {
		caller = caller[:maxCallerName] + "..."
	}
	return fmt.Sprintf("%s keeps a value in %s across the call at %#x, as only the present code allows", caller, r.Register, r.Call)
}
