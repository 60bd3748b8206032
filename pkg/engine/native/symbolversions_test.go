package native

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// versioned compiles the library with two versions of its functions, stripped if flags say so, and
// starts a program that calls both.
func versioned(t *testing.T, flags ...string) (lib string, c *child) {
	t.Helper()
	lib = gcc(t, "libversions.so", append([]string{"-shared", "-fPIC", "-fno-inline", nopFlags,
		"-Wl,--build-id", "-Wl,-soname,libversions.so",
		"-Wl,--version-script=testdata/symbolversions.map", "testdata/symbolversions.c"},
		flags...)...)
	cmd := exec.Command(gcc(t, "versions", "testdata/symbolversions_program.c", lib, "-Wl,-rpath,"+
		filepath.Dir(lib)))
	p := targettest.Start(t, cmd)
	p.Line()
	return lib, &child{Process: p, t: t, pid: p.PID}
}

// catalogue writes the catalogue of a library into a file, as download does.
func catalogue(t *testing.T, lib string) string {
	t.Helper()
	l, err := symtab.OpenLibrary(lib, symtab.LibraryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "libversions.so.json")
	if err := os.WriteFile(file, l.AppendCatalogue(nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// expanded returns lines without patterns.
func expanded(t *testing.T, lib, lines string) string {
	t.Helper()
	l, err := symtab.OpenLibrary(lib, symtab.LibraryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := ulp.ParseDescription("test.dsc", []byte("a.so\n@l\n"+lines))
	if err != nil {
		t.Fatal(err)
	}
	if d, err = d.Expand(ulp.Expansion{}, l); err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(d.String(), "a.so\n@l\n")
}

// TestSymbolVersions replaces one version of a function, and all of them, in a process that calls
// both.
func TestSymbolVersions(t *testing.T) {
	for _, from := range []struct {
		name  string
		flags []string
		json  bool
	}{{"with .symtab", nil, false}, {"stripped", []string{"-Wl,--strip-all"}, false},
		{"by its catalogue", []string{"-Wl,--strip-all"}, true}} {
		t.Run(from.name, func(t *testing.T) {
			lib, c := versioned(t, from.flags...)
			if from.json {
				lib = catalogue(t, lib)
			}
			c.says("", "1 2 3")
			for lines, want := range map[string]string{
				"bar@V1:old_lp\n":  "10 2 3",
				"bar@@V2:new_lp\n": "1 20 3",
				"bar@V2:new_lp\n":  "1 20 3",
				"bar@V1:old_lp\nbar@@V2:new_lp\nsame:same_lp\n": "10 20 30",
				"bar@*:new_lp\nsame@V1:same_lp\n":               "20 20 30",
			} {
				p := pack(t, lib, expanded(t, lib, lines), ulp.PackOptions{},
					"testdata/symbolversions_patch.c")
				c.apply(Options{}, p)
				c.says("", want)
				c.revert()
				c.says("", "1 2 3")
			}
		})
	}
}

// TestSymbolVersionsRefused: a live patch that replaces one version without a name for it is not
// applied, nor is one whose function lies elsewhere in the process.
func TestSymbolVersionsRefused(t *testing.T) {
	lib, c := versioned(t)
	pick := func(lines string) *Patch {
		t.Helper()
		return pack(t, lib, lines, ulp.PackOptions{Force: true}, "testdata/symbolversions_patch.c")
	}
	moved := pick("bar@V1:old_lp\n")
	moved.Meta.Functions[0].OldValue = pick("bar@@V2:new_lp\n").Meta.Functions[0].OldValue
	absent := pick("bar@V1:old_lp\n")
	absent.Meta.Functions[0].Old = "bar@V3"
	for _, f := range []struct {
		p    *Patch
		err  error
		says string
	}{
		{pick("bar:new_lp\n"), ulp.ErrAmbiguous, "the library has bar@@V2, bar@V1"},
		{moved, ulp.ErrNoSymbol, `"bar@V1" of libversions.so: no such symbol where the live ` +
			`patch has it`},
		{absent, ulp.ErrNoSymbol, "no such version"},
	} {
		_, err := do(t.Context(), look(t, c.pid), Change{Apply: []*Patch{f.p}}, Options{})
		if !errors.Is(err, f.err) || !strings.Contains(err.Error(), f.says) {
			t.Errorf("got %v, want %v with %q", err, f.err, f.says)
		}
	}
	c.says("", "1 2 3")
	// Together they are all.
	both := pick("bar@V1:old_lp\nbar@@V2:new_lp\n")
	both.Meta.Functions[0].Old, both.Meta.Functions[1].Old = "bar", "bar"
	c.apply(Options{}, both)
	c.says("", "10 20 3")
}

// TestSymbolVersionsOfLibc asks for functions of the machine's own libc that have several versions.
func TestSymbolVersionsOfLibc(t *testing.T) {
	lib, err := symtab.OpenLibrary(libcPath(t), symtab.LibraryOptions{Prove: true})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, name := range []string{"regexec", "realpath", "posix_spawn", "sched_getaffinity",
		"pthread_cond_signal"} {
		values := map[uint64]bool{}
		for _, s := range lib.LookupAll(name) {
			values[s.Value] = true
		}
		d, err := ulp.ParseDescription("x.dsc", []byte("x.so\n@libc.so.6\n"+name+":f\n"))
		if err != nil {
			t.Fatal(err)
		}
		err = ulp.Check(d, nil, lib, symtab.EntriesAny)
		if ambiguous := errors.Is(err, ulp.ErrAmbiguous); ambiguous != (len(values) > 1) {
			t.Errorf("%s has %d addresses: %s", name, len(values), diag.Render(err, false))
		} else if ambiguous {
			seen++
			if !strings.Contains(diag.Render(err, false), "choose a version: "+name+"@@GLIBC_") {
				t.Errorf("no choice: %s", diag.Render(err, false))
			}
		}
	}
	if seen == 0 {
		t.Error("none of them has several versions")
	}
}
