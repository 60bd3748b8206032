package libpulp_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/libpulp"
)

// all are the lines of a description that replaces everything that can be replaced.
var all = []string{"one:one_lp", "two:two_lp", "sum:sum_lp", "#secret:secret_pointer",
	"#%local:local_pair"}

// each runs a test with each libpulp.so, and libraries without and with endbr64.
func each(t *testing.T, f func(t *testing.T, f flavour, lib string)) {
	for _, fl := range flavours(t) {
		for _, cet := range []bool{false, true} {
			name := fl.name
			if cet {
				name += "-cet"
			}
			if cet && fl.real && fl.old {
				continue // see TestEndbr64
			}
			t.Run(name, func(t *testing.T) { f(t, fl, library(t, cet)) })
		}
	}
}

func TestApplyRevert(t *testing.T) {
	each(t, func(t *testing.T, f flavour, lib string) {
		p, path := container(t, lib, 10, all...)
		c := start(t, lib, f, "", "2")
		for range 3 {
			before := time.Now().Add(-2 * time.Second)
			must(t, "apply", c.apply(p, path))
			c.says("10 20 3 1107")
			mustNot(t, "apply again", c.apply(p, path), libpulp.ErrApplied)
			list := c.applied()
			if len(list) != 1 || list[0].ID != p.ID() ||
				filepath.Base(list[0].Container) != filepath.Base(path) || !f.old &&
				list[0].Container != path || list[0].Library != p.Metadata.Target.Name ||
				len(list[0].Functions) != 3 || list[0].Target == nil ||
				list[0].Target.Path != lib ||
				(list[0].Time.Before(before) || list[0].Time.After(time.Now())) != f.old {
				t.Errorf("applied: %+v", list)
			}
			must(t, "revert", c.revert(p))
			c.says("1 2 3 107")
			mustNot(t, "revert again", c.revert(p), libpulp.ErrNotApplied)
			if list := c.applied(); len(list) != 0 {
				t.Errorf("applied: %+v", list)
			}
		}
	})
}

// TestStack applies two patches on top of each other, and takes them away in both orders.
func TestStack(t *testing.T) {
	each(t, func(t *testing.T, f flavour, lib string) {
		p, ppath := container(t, lib, 10, all...)
		q, qpath := container(t, lib, 20, "one:one_lp")
		c := start(t, lib, f, "", "2")
		for _, newestFirst := range []bool{true, false} {
			must(t, "first", c.apply(p, ppath))
			must(t, "second", c.apply(q, qpath))
			c.says("20 20 3 1107")
			if list := c.applied(); len(list) != 2 || list[0].ID != q.ID() || list[1].ID != p.ID() {
				t.Errorf("applied: %+v", list)
			}
			if newestFirst {
				must(t, "revert the second", c.revert(q))
				c.says("10 20 3 1107")
				must(t, "revert the first", c.revert(p))
			} else if f.old {
				mustNot(t, "revert the first", c.revert(p), libpulp.ErrOldLibpulp)
				must(t, "revert both", c.revertAll(p.Metadata.Target.Name))
			} else {
				must(t, "revert the first", c.revert(p))
				c.says("20 2 3 107")
				must(t, "revert the second", c.revert(q))
			}
			c.says("1 2 3 107")
		}
	})
}

func TestRevertAll(t *testing.T) {
	each(t, func(t *testing.T, f flavour, lib string) {
		p, ppath := container(t, lib, 10, all...)
		q, qpath := container(t, lib, 20, "one:one_lp")
		name := p.Metadata.Target.Name
		c := start(t, lib, f, "", "2")
		mustNot(t, "nothing to revert", c.revertAll(name), libpulp.ErrNoPatches)
		mustNot(t, "no such library", c.revertAll("libnowhere.so"), libpulp.ErrNoTarget)
		must(t, "first", c.apply(p, ppath))
		must(t, "second", c.apply(q, qpath))
		must(t, "revert all", c.revertAll(name))
		c.says("1 2 3 107")
		must(t, "first again", c.apply(p, ppath))
		c.says("10 20 3 1107")
	})
}

func TestReplace(t *testing.T) {
	each(t, func(t *testing.T, f flavour, lib string) {
		p, ppath := container(t, lib, 10, all...)
		q, qpath := container(t, lib, 20, "one:one_lp")
		c := start(t, lib, f, "", "2")
		must(t, "first", c.replace(p, ppath))
		c.says("10 20 3 1107")
		must(t, "second instead", c.replace(q, qpath))
		c.says("20 2 3 107")
		if list := c.applied(); len(list) != 1 || list[0].ID != q.ID() {
			t.Errorf("applied: %+v", list)
		}
		mustNot(t, "second instead of itself", c.replace(q, qpath), libpulp.ErrApplied)
		must(t, "both", c.apply(p, ppath))
		must(t, "only the second", c.replace(q, qpath))
		c.says("20 2 3 107")
	})
}

// TestAllOrNothing has a patch whose second function cannot be patched: nothing changes, and the
// next patch works.
func TestAllOrNothing(t *testing.T) {
	each(t, func(t *testing.T, f flavour, lib string) {
		p, ppath := container(t, lib, 10, "one:one_lp", "bare:bare_lp")
		q, qpath := container(t, lib, 20, "one:one_lp")
		c := start(t, lib, f, "", "2")
		mustNot(t, "impossible", c.apply(p, ppath), libpulp.ErrNotPatchable)
		c.says("1 2 3 107")
		must(t, "possible", c.apply(q, qpath))
		c.says("20 2 3 107")
	})
}

// TestEndbr64 has a libpulp.so that does not know endbr64, and would break functions that begin
// with it.
func TestEndbr64(t *testing.T) {
	lib := library(t, true)
	p, path := container(t, lib, 10, all...)
	list := flavours(t)
	ignorant := gcc(t, "runtimeignorant.so", "testdata/runtime.c",
		append(shared, "-fvisibility=hidden", "-DOLD", "-DIGNORANT")...)
	list = append(list[2:], flavour{name: "ignorant", path: ignorant, old: true})
	for _, f := range list {
		if !f.old {
			continue
		}
		c := start(t, lib, f, "")
		mustNot(t, f.name, c.apply(p, path), libpulp.ErrOldLibpulp)
		c.says("1 2 3 107")
	}
}
