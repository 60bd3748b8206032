package native

import (
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/lpbuild/lpbuild/internal/hotpatch"
	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// planWith plans a live patch for a process, with what a Cache knows.
func (c *child) planWith(cache *Cache, p *Patch) error {
	c.t.Helper()
	proc := look(c.t, c.pid)
	m, err := proc.Memory(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	defer m.Close()
	libs, err := m.Libraries(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	v, err := cache.NewView(c.t.Context(), proc, m, libs)
	if err != nil {
		c.t.Fatal(err)
	}
	_, err = v.Plan(c.t.Context(), Change{Apply: []*Patch{p}}, Options{Entries: symtab.EntriesAny})
	return err
}

// code returns the library's code in a process, and where first() is.
func (c *child) code(lib string) (seg rtld.Segment, first uint64) {
	c.t.Helper()
	v := opened(c.t.(*testing.T), c.pid)
	for _, l := range v.libs {
		if l.Name != filepath.Base(lib) {
			continue
		}
		symbols, err := v.loaded.Symbols(c.t.Context(), l)
		if err != nil {
			c.t.Fatal(err)
		}
		sym, err := symbols.Lookup(c.t.Context(), "first", "")
		if err != nil {
			c.t.Fatal(err)
		}
		return *l.Segment(sym.Addr), sym.Addr
	}
	c.t.Fatalf("no %s", lib)
	return seg, 0
}

// intoFirst is a branch to the second byte of first(), at an address.
func intoFirst(at, first uint64) []byte {
	return binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(first+1-at-5))
}

// plainLibrary is a library without NOPs, and a live patch for it.
func plainLibrary(t *testing.T) (string, *Patch) {
	lib := library(t, "-fcf-protection=none")
	return lib, pack(t, lib, "first:first_lp\nreads_secret:reads_secret_lp\n#secret:ulpr_secret\n",
		ulp.PackOptions{Force: true}, "testdata/patch.c")
}

// hostile are processes that have the library's build-id, and a branch into first() somewhere else
// in its code.
var hostile = map[string]func(t *testing.T, lib string) *child{
	"a page of its own": func(t *testing.T, lib string) *child {
		c := start(t, target(t, lib), 0)
		seg, first := c.code(lib)
		c.poke(seg.End-16, intoFirst(seg.End-16, first))
		return c
	},
	"a file with the same build-id": func(t *testing.T, lib string) *child {
		seg, first := start(t, target(t, lib), 0).code(lib)
		data, err := os.ReadFile(lib)
		if err != nil {
			t.Fatal(err)
		}
		copy(data[seg.Offset+seg.End-16-seg.Start:], intoFirst(seg.End-16, first))
		other := filepath.Join(t.TempDir(), filepath.Base(lib))
		if err := os.WriteFile(other, data, 0o700); err != nil {
			t.Fatal(err)
		}
		return start(t, target(t, lib), 0, "LD_LIBRARY_PATH="+filepath.Dir(other))
	},
}

// TestCacheTrustsNobody plans for an honest process and a hostile one, in both orders, with one
// Cache: each gets the answer that it gets alone.
func TestCacheTrustsNobody(t *testing.T) {
	lib, p := plainLibrary(t)
	for name, make := range hostile {
		t.Run(name, func(t *testing.T) {
			honest, other := start(t, target(t, lib), 0), make(t, lib)
			for _, honestFirst := range []bool{true, false} {
				cache := &Cache{}
				if honestFirst {
					if err := honest.planWith(cache, p); err != nil {
						t.Error(err)
					}
				}
				if err := other.planWith(cache, p); !errors.Is(err, ErrEntry) {
					t.Errorf("the hostile one, honest first %v: %v", honestFirst, err)
				}
				if err := honest.planWith(cache, p); err != nil {
					t.Errorf("honest first %v: %v", honestFirst, err)
				}
			}
		})
	}
}

// TestCacheKnows changes what a Cache has found out about a file, and looks who is told so: every
// process that has the file's pages, and no other.
func TestCacheKnows(t *testing.T) {
	targettest.NeedMappedFiles(t)
	lib, p := plainLibrary(t)
	cache, told := &Cache{}, errors.New("from the cache")
	if err := start(t, target(t, lib), 0).planWith(cache, p); err != nil {
		t.Fatal(err)
	}
	proved, bound := 0, 0
	for _, k := range cache.files {
		for f := range k.sites {
			k.sites[f] = verdict[site]{err: told}
			proved++
		}
		bound += len(k.symbols)
	}
	if proved != len(p.Meta.Functions) || bound == 0 {
		t.Errorf("%d entries and %d symbols are known, want %d and some", proved, bound,
			len(p.Meta.Functions))
	}
	second := start(t, target(t, lib), 0)
	if err := second.planWith(cache, p); !errors.Is(err, told) {
		t.Errorf("another process with the file: %v", err)
	}
	if err := second.planWith(nil, p); err != nil {
		t.Errorf("without a cache: %v", err)
	}
	written := start(t, target(t, lib), 0)
	seg, _ := written.code(lib)
	written.poke(seg.End-1, []byte{0}) // the same as before, but in a page of its own
	if err := written.planWith(cache, p); err != nil {
		t.Errorf("one that has written to its code: %v", err)
	}
	for name, make := range hostile {
		if err := make(t, lib).planWith(cache, p); !errors.Is(err, ErrEntry) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCacheWaits ends the time of one process while another one is being found out about: it does
// not wait any longer.
func TestCacheWaits(t *testing.T) {
	lib, p := plainLibrary(t)
	cache := &Cache{}
	c := start(t, target(t, lib), 0)
	if err := c.planWith(cache, p); err != nil {
		t.Fatal(err)
	}
	for _, k := range cache.files {
		k.lock <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, k := range cache.files {
		if err := k.take(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// TestFileAgreesWithMemory asks about every function that the libraries of a process export, by
// their files and in its memory, where the loader has written its addresses: the answers are the
// same.
func TestFileAgreesWithMemory(t *testing.T) {
	targettest.NeedMappedFiles(t)
	lib, _ := plainLibrary(t)
	v := opened(t, start(t, target(t, lib), 0).pid)
	v.cache = &Cache{}
	b := &planner{Plan: &Plan{}, v: v, texts: map[uint64]*hotpatch.Text{}}
	safe, unsafe := 0, 0
	for _, l := range v.libs {
		k, err := v.known(t.Context(), l)
		if err != nil || k == nil {
			t.Fatalf("%s: %v, or it is not known", l.Name, err)
		}
		symbols, err := v.loaded.Symbols(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		for sym, err := range symbols.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			seg := l.Segment(sym.Addr)
			if sym.Type != elf.STT_FUNC || seg == nil || seg.Perm&rtld.PermExec == 0 {
				continue
			}
			f := ulp.Function{Old: sym.Name, OldValue: sym.Addr - l.Bias}
			want, wantErr := b.proveSite(t.Context(), l, seg, f, sym.Addr)
			got, gotErr, ok := k.site(t.Context(), f, l.Bias-k.file.Library().Bias)
			switch {
			case !ok:
				t.Errorf("%s of %s: not known", sym.Name, l.Name)
			case (gotErr == nil) != (wantErr == nil), gotErr != nil &&
				gotErr.Error() != wantErr.Error():
				t.Errorf("%s of %s: by the file %v, in memory %v", sym.Name, l.Name, gotErr,
					wantErr)
			case gotErr == nil && *got != *want:
				t.Errorf("%s of %s: by the file %+v, in memory %+v", sym.Name, l.Name, got, want)
			case gotErr == nil:
				safe++
			default:
				unsafe++
			}
		}
	}
	t.Logf("%d functions can have a jump, %d cannot", safe, unsafe)
	if safe < 1000 || unsafe == 0 {
		t.Errorf("%d functions can have a jump, %d cannot: want more", safe, unsafe)
	}
}
