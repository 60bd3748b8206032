package download_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/abi"
	"github.com/lpbuild/lpbuild/pkg/download"
)

// factsCode has enough types for dwz to move some to another file.
const factsCode = `
struct state { int a; long b; struct state *next; struct { char c[3]; } part; };
struct other { struct state states[4]; unsigned small : 3; void (*call)(struct state *); };
union both { struct other *other; struct state *state; };
static struct other others[2];
static inline __attribute__((always_inline)) long inner(struct state *s) { return s->b + s->a; }
long foo(struct state *s, union both *both)
{
	others[0].small++;
	return inner(s) + inner(both->state) + others[1].states[2].a;
}
`

// TestFacts reads the facts of a library from its debuginfo, and a second time from the store.
func TestFacts(t *testing.T) {
	for name, kind := range map[string]debuginfoKind{"as compiled": byBuildID, "dwz": dwzed} {
		t.Run(name, func(t *testing.T) {
			p := libfoo("1", factsCode)
			p.Debuginfo = kind
			w := packageWorld(t, p)
			w.mustRun(t, want("libfoo1", "libfoo.so.1"))
			w.newDir(t) // from the store
			res := w.mustRun(t, want("libfoo1", "libfoo.so.1"))
			lib := libraryOf(&res.Lock.Builds[0], "libfoo.so.1")
			if lib.Facts == nil || lib.NoFacts != "" {
				t.Fatalf("%+v; %q", lib, w.warnings)
			}
			data, err := os.ReadFile(filepath.Join(w.dir, lib.Facts.File))
			if err != nil {
				t.Fatal(err)
			}
			facts, err := abi.Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			inner, state := facts.Function("inner"), facts.Layout("struct state")
			if facts.BuildID != lib.BuildID || len(inner) != 1 || len(inner[0].Inlined) != 1 ||
				inner[0].Inlined[0] != (abi.Copy{Into: "foo", Count: 2}) ||
				len(state) != 1 || state[0].Size != 32 || len(state[0].Members) != 4 {
				t.Errorf("%s: inner %+v, struct state %+v", facts.BuildID, inner, state)
			}
		})
	}
}

// TestNoFacts names the reason in the lock if the debuginfo does not tell.
func TestNoFacts(t *testing.T) {
	for _, tc := range []struct {
		kind         debuginfoKind
		want, warned string
	}{
		{noDebuginfo, abi.ErrNone.Error(), "there is no debuginfo package"},
		{dwzedPart, "supplementary debuginfo ../../.dwz/libfoo1.x86_64",
			"types and inlined functions cannot be checked"},
	} {
		p := libfoo("1", factsCode)
		p.Debuginfo = tc.kind
		w := packageWorld(t, p)
		res := w.mustRun(t, want("libfoo1", "libfoo.so.1"))
		lib := libraryOf(&res.Lock.Builds[0], "libfoo.so.1")
		if lib.Facts != nil || !strings.Contains(lib.NoFacts, tc.want) ||
			!strings.Contains(strings.Join(w.warnings, "\n"), tc.warned) {
			t.Errorf("%+v; %q", lib, w.warnings)
		}
	}
}

// TestFactsFileName rejects a lock that names a file outside the catalogue.
func TestFactsFileName(t *testing.T) {
	p := libfoo("1", factsCode)
	p.Debuginfo = byBuildID
	w := packageWorld(t, p)
	w.mustRun(t, want("libfoo1", "libfoo.so.1"))
	lock := filepath.Join(w.dir, "lpbuild.lock")
	data, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	i := strings.Index(string(data), `"facts": {`)
	bad := string(data[:i]) + strings.Replace(string(data[i:]), "catalogue/", "../", 1)
	if err := os.WriteFile(lock, []byte(bad), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := download.ReadLock(lock); err == nil ||
		!strings.Contains(err.Error(), "is not a path in the catalogue") {
		t.Errorf("ReadLock: %v", err)
	}
}
