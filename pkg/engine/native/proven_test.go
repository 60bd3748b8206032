package native

import (
	"errors"
	"testing"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// searched plans a live patch with a new Cache, and returns how many functions were proven by the
// engine.
func searched(c *child, p *Patch) (n int, err error) {
	cache := &Cache{}
	err = c.planWith(cache, p)
	for _, k := range cache.files {
		n += len(k.sites)
	}
	return n, err
}

// TestProven: what the packer has proven is not proven again, where the code is what the packer
// saw: neither in a file that has the same build-id and other code, nor in a process that has
// written to its code.
func TestProven(t *testing.T) {
	targettest.NeedMappedFiles(t)
	lib := library(t, "-fcf-protection=none")
	p := pack(t, lib, "first:first_lp\nreads_secret:reads_secret_lp\n#secret:ulpr_secret\n",
		ulp.PackOptions{Entries: symtab.EntriesAny}, "testdata/patch.c")
	if p.proven == nil || len(p.proven.Functions) != 2 {
		t.Fatalf("the packer says %+v", p.proven)
	}
	c := start(t, target(t, lib), 0)
	if n, err := searched(c, p); n != 0 || err != nil {
		t.Errorf("%d functions are proven again: %v", n, err)
	}
	other := *p
	other.proven = &ulp.Proven{Checksum: p.proven.Checksum + 1, Functions: p.proven.Functions}
	if n, err := searched(c, &other); n != 2 || err != nil {
		t.Errorf("by a proof about other code: %d functions are proven, %v", n, err)
	}
	other.proven = &ulp.Proven{Checksum: p.proven.Checksum, Functions: p.proven.Functions[:1]}
	if n, err := searched(c, &other); n != 1 || err != nil {
		t.Errorf("of two functions one is proven: %d, %v", n, err)
	}
	for name, make := range hostile {
		if n, err := searched(make(t, lib), p); !errors.Is(err, ErrEntry) {
			t.Errorf("%s: %d functions are proven, %v", name, n, err)
		}
	}
	if r := c.apply(Options{}, p); r.Loaded != 1 {
		t.Errorf("%+v", r)
	}
	if r := c.revert(); r.Reverted != 1 {
		t.Errorf("%+v", r)
	}
}
