package ulp

import (
	"debug/elf"
	"errors"
	"fmt"

	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// reference checks both sides of a reference. pointers are those before it.
func (k *checker) reference(r Reference, pointers map[string]Name) {
	size := uint64(8)
	if r.TLS {
		size = 16
	}
	before := len(k.errs)
	switch {
	case k.lib == nil:
	case IsOriginal(r.Pointer.Text):
		k.original(r)
	default:
		k.variable(r)
	}
	if len(k.errs) > before && errors.Is(k.errs[before].Err, ErrTLS) {
		size = 0 // one finding is enough for one "%"
	}
	if k.c != nil {
		k.pointer(r, size, pointers)
	}
}

// variable checks the target's side of a reference.
func (k *checker) variable(r Reference) {
	n := r.Variable
	rows := k.meant(k.lib, n.Text)
	given := r.Explicit && r.TargetOffset != 0
	switch {
	case len(rows) == 0 && given:
		return // that is what offsets are given for
	case len(rows) == 0:
		k.absentVariable(r)
		return
	case symtab.IsIFUNC(rows[0]):
		k.fail(n, ErrIFUNC, k.implementations(n.Text),
			"%q is an indirect function (IFUNC) of %s: its address is not the function's", n.Text,
			k.lib.Name)
		return
	}
	if isTLS := rows[0].Type() == elf.STT_TLS; isTLS != r.TLS {
		if isTLS {
			hint := fmt.Sprintf("write #%%%s, and make %s a pair of module and offset for "+
				"__tls_get_addr", n.Text, r.Pointer.Text)
			k.fail(n, ErrTLS, hint,
				"%q is a thread-local variable of %s", n.Text, k.lib.Name)
		} else {
			k.fail(n, ErrTLS, "write #"+n.Text, "%q is not a thread-local variable of %s but %s",
				n.Text, k.lib.Name, symtab.KindOf(rows[0]))
		}
		return
	}
	if !given && symtab.IsAmbiguous(rows) {
		k.fail(n, ErrAmbiguous, k.chooseVariable(r, rows), "%q is several variables of %s", n.Text,
			k.lib.Name)
	}
	if given && !isWithin(r.TargetOffset, k.lib.Versions(n.Text)) {
		k.fail(n, ErrReference, places(rows), "offset %x is not in %q of %s", r.TargetOffset,
			n.Text, k.lib.Name)
	}
}

func (k *checker) absentVariable(r Reference) {
	want := symtab.IsVariable
	if r.TLS {
		want = symtab.IsTLSVariable
	}
	before := len(k.errs)
	k.absent(r.Variable, k.lib, k.lib.Name, want, nil)
	if found := k.errs[before]; found.Hint == "" {
		found.Hint = "it was optimised away, or the compiler gave it a name with a suffix"
	}
}

// isWithin tells whether the address lies in one of the symbols.
func isWithin(address uint64, rows []symtab.Symbol) bool {
	for _, s := range rows {
		if !s.Undefined && address >= s.Value && address-s.Value < max(1, s.Size) {
			return true
		}
	}
	return false
}

// pointer checks the container's side of a reference. size is how many bytes are written there, 0
// if that is not clear; used are the pointers before it.
func (k *checker) pointer(r Reference, size uint64, used map[string]Name) {
	n := r.Pointer
	if first, ok := used[n.Text]; ok {
		k.fail(n, ErrDuplicate, "one pointer holds one address", "%q is set twice%s", n.Text,
			inLine(first))
		return
	}
	used[n.Text] = n
	rows := k.meant(&k.c.Library, n.Text)
	if len(rows) == 0 {
		if r.Explicit && r.PatchOffset != 0 {
			k.unknownPointer(r, size)
			return
		}
		k.absent(n, &k.c.Library, k.container, symtab.IsVariable, nil)
		if found := k.errs[len(k.errs)-1]; found.Hint == "" {
			found.Hint = "a static pointer that is never written is optimised away: declare it " +
				"without static"
		}
		return
	}
	k.pointerKind(n, size, rows[0])
	s := rows[0]
	switch {
	case !r.Explicit && symtab.IsAmbiguous(rows):
		k.fail(n, ErrAmbiguous, "declare it without static", "%q is several variables of %s",
			n.Text, k.container)
	case r.Explicit && r.PatchOffset != 0 && !hasAddress(r.PatchOffset, rows):
		k.fail(n, ErrReference, places(rows), "offset %x is not that of %q in %s", r.PatchOffset,
			n.Text, k.container)
	case r.Explicit && r.PatchOffset == 0 && !hasDynamic(rows):
		k.fail(n, ErrNotExported, fmt.Sprintf("give its offset: %x", s.Value),
			"%q is to be found by name, but %s does not export it", n.Text, k.container)
	}
}

// unknownPointer checks the offset of a pointer whose name is not in the container.
func (k *checker) unknownPointer(r Reference, size uint64) {
	for _, p := range k.c.file.Segments {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_W != 0 && r.PatchOffset >= p.Vaddr &&
			p.Memsz >= size && r.PatchOffset-p.Vaddr <= p.Memsz-size {
			return
		}
	}
	k.fail(r.Pointer, ErrReference, "", "offset %x is not in writable memory of %s", r.PatchOffset,
		k.container)
}

// pointerKind checks that the symbol s, called n, can take an address: size, type and place.
func (k *checker) pointerKind(n Name, size uint64, s symtab.Symbol) {
	what := "a pointer has 8"
	if size == 16 {
		what = "a pair of module and offset has 16"
	}
	switch {
	case s.Type() != elf.STT_OBJECT && s.Type() != elf.STT_COMMON && s.Type() != elf.STT_NOTYPE:
		k.fail(n, ErrReference, k.near(n.Text, &k.c.Library, symtab.IsVariable),
			"%q of %s is not a variable but %s", n.Text, k.container, symtab.KindOf(s))
	case s.Size != size && s.Size != 0 && size != 0:
		k.fail(n, ErrReference, "", "%q of %s has %d bytes; %s", n.Text, k.container, s.Size, what)
	case k.c.Complete && !s.Writable:
		k.fail(n, ErrReference, "declare the pointer itself without const",
			"%q of %s lies in read-only memory", n.Text, k.container)
	}
}

func hasAddress(address uint64, rows []symtab.Symbol) bool {
	for _, s := range rows {
		if s.Value == address {
			return true
		}
	}
	return false
}

func hasDynamic(rows []symtab.Symbol) bool {
	for _, s := range rows {
		if s.Dynamic {
			return true
		}
	}
	return false
}
