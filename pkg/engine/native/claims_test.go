package native

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// TestClaims: a record that lays claim to memory which is not of lpbuild's files is not believed:
// that is not unmapped.
func TestClaims(t *testing.T) {
	lib := library(t, nopFlags)
	c := start(t, target(t, lib), 0)
	c.apply(Options{}, pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c"))
	v := opened(t, c.pid)
	st, err := v.readState(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	honest := *st.records[0]
	c.says("over "+itoa(int(honest.Base+honest.Size)), "1") // right after it
	for name, lie := range map[string]func(r *patchRecord){
		"a page more":            func(r *patchRecord) { r.Size += pageSize },
		"nothing":                func(r *patchRecord) { r.Size = 0 },
		"the library":            func(r *patchRecord) { r.Base = v.libs[0].Segments[0].Start },
		"more than there can be": func(r *patchRecord) { r.Size = -r.Base },
	} {
		r := honest
		lie(&r)
		b, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		c.poke(honest.Base, b)
		if list, err := List(t.Context(), look(t, c.pid)); err == nil {
			t.Errorf("%s: %+v", name, list)
		}
		c.refused(Change{Revert: everyOne}, Options{}, ErrDamaged)
	}
	other := pack(t, lib, both, ulp.PackOptions{}, "testdata/patch.c", "-DANSWER=3")
	for name, lie := range map[string]func(r *patchRecord){
		// can be listed, but the table says otherwise
		"a page less":      func(r *patchRecord) { r.Size -= pageSize },
		"another function": func(r *patchRecord) { r.Functions[0].Entry += 16 },
		"another one's slot": func(r *patchRecord) {
			r.Functions[0].Slot, r.Functions[1].Slot = r.Functions[1].Slot, r.Functions[0].Slot
		},
		"a slot of nobody": func(r *patchRecord) { r.Functions[0].Slot = maxSlots - 1 },
	} {
		r := honest
		r.Functions = slices.Clone(honest.Functions)
		lie(&r)
		b, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		c.poke(honest.Base, b)
		t.Log(name)
		c.refused(Change{Apply: []*Patch{other}}, Options{}, ErrDamaged)
	}
	b, err := honest.encode()
	if err != nil {
		t.Fatal(err)
	}
	c.poke(honest.Base, b)
	before := c.snapshot()
	if _, err := List(t.Context(), look(t, c.pid)); err != nil {
		t.Error(err)
	}
	c.revert()
	c.says("unmap "+itoa(int(honest.Base+honest.Size)), "0")
	c.says("all", original)
	if cmp.Diff(before, c.snapshot()) == "" {
		t.Error("nothing was reverted")
	}
}
