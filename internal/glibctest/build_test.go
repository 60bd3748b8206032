package glibctest

import (
	"debug/elf"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/gate"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// TestBuilds expects three builds that differ as released builds do, and whose functions can be
// patched: those written in C and, above all, those written in assembly.
func TestBuilds(t *testing.T) {
	w := theWorld(t)
	ids, places := map[string]bool{}, map[string]map[uint64]bool{"malloc": {}, "errno": {},
		"main_arena": {}}
	for _, b := range w.builds {
		lib := w.library(t, b)
		ids[hex.EncodeToString(lib.BuildID)] = true
		for name := range places {
			for _, s := range lib.LookupAll(name) {
				places[name][s.Value] = true
			}
		}
		functions, patchable := 0, 0
		for s := range lib.Symbols() {
			if s.Type() == elf.STT_FUNC && !s.Undefined {
				functions++
				if s.Patchable {
					patchable++
				}
			}
		}
		t.Logf("glibc-%s-%s: %d of %d functions can be patched", b.Version, b.Release, patchable,
			functions)
		if functions < 5000 || patchable*10 < functions*9 {
			t.Errorf("glibc-%s-%s: only %d of %d functions can be patched", b.Version, b.Release,
				patchable, functions)
		}
	}
	if len(ids) != len(w.builds) {
		t.Errorf("%d builds have %d build-ids", len(w.builds), len(ids))
	}
	for name, values := range places {
		if len(values) != len(w.builds) {
			t.Errorf("%s has %d places in %d builds", name, len(values), len(w.builds))
		}
	}
}

// library reads a build's libc.so.6 from the catalogue, as the gate does.
func (w *world) library(t *testing.T, b glibcBuild) *symtab.Library {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(w.dir, "catalogue/x86_64/TEST/glibc", b.Version+"-"+
		b.Release, "libc.so.6-*.json"))
	if err != nil || len(names) != 1 {
		t.Fatalf("catalogue of %s-%s: %v, %v", b.Version, b.Release, names, err)
	}
	text, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	lib, err := symtab.ParseCatalogue(text)
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

// TestGate expects every live patch to be built for every build, and the pattern to match the
// intended functions.
func TestGate(t *testing.T) {
	w := theWorld(t)
	if n := len(w.report.Cells); n != len(patches)*len(w.builds) ||
		w.report.Count(buildmatrix.Built) != n {
		t.Errorf("%d cells, %d of them built; want all of %d", n, w.report.Count(buildmatrix.Built),
			len(patches)*len(w.builds))
	}
	for _, c := range w.report.Cells {
		if want := []string{gate.EnginePulp,
			gate.EngineNative}; !slices.Equal(c.Engines, want) {
			t.Errorf("%s for %s: engines %v, want %v: %v", c.Patch, c.Release, c.Engines, want,
				c.Notes)
		}
		if c.Patch == "memcpy.in" {
			if d := cmp.Diff(w.variants(t, c.Release),
				slices.Sorted(slices.Values(c.Functions))); d != "" {
				t.Errorf("%s: implementations of memcpy (-there +replaced):\n%s", c.Release, d)
			}
		}
	}
}

// variants returns the implementations of memcpy in a build's catalogue.
func (w *world) variants(t *testing.T, release string) []string {
	t.Helper()
	i := slices.IndexFunc(w.builds, func(b glibcBuild) bool { return b.Release == release })
	var names []string
	for s := range w.library(t, w.builds[i]).Symbols() {
		if strings.HasPrefix(s.Name, "__memcpy_") && s.Type() == elf.STT_FUNC &&
			!strings.Contains(s.Name, "_chk") && !slices.Contains(names, s.Name) {
			names = append(names, s.Name)
		}
	}
	for _, want := range []string{"__memcpy_sse2_unaligned", "__memcpy_avx_unaligned_erms",
		"__memcpy_evex_unaligned", "__memcpy_ssse3"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not in the library", want)
		}
	}
	slices.Sort(names)
	return names
}

// TestHandlers expects the catalogue to list exactly the functions that clean up when a thread is
// cancelled in them, which the native engine does not replace.
func TestHandlers(t *testing.T) {
	w := theWorld(t)
	for _, b := range w.builds {
		lib := w.library(t, b)
		for name, want := range map[string]bool{"_IO_fputs": true, "_IO_puts": true,
			"_IO_fflush": true, "__vsyslog_internal": true,
			"__libc_malloc": false, "pthread_mutex_lock": false, "asctime_internal": false,
			"__memcpy_avx_unaligned": false, "getaddrinfo": false} {
			s, ok := lib.Function(name)
			if why := lib.Handlers(s.Value); !ok || (why != "") != want {
				t.Errorf("%s: %s: found %t, handlers %q", b.Release, name, ok, why)
			}
		}
		if !lib.HasHandlers() {
			t.Errorf("%s: the catalogue does not list them", b.Release)
		}
	}
}

// TestRefused expects reasons for live patches that cannot work on a real glibc.
func TestRefused(t *testing.T) {
	w := theWorld(t)
	tests := map[string]struct{ function, code string }{
		"IFUNC":           {"memcpy", "ifunc"},
		"its resolver":    {"__new_memcpy_ifunc", "ifunc"},
		"no such":         {"__libc_maloc", "no-symbol"},
		"data":            {"main_arena", "not-a-function"},
		"inlined":         {"tcache_get", "no-symbol"},
		"written by hand": {"__restore_rt", "not-patchable"},
	}
	url := ""
	text, err := os.ReadFile(filepath.Join(w.dir, "lpbuild.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "- url: "); ok {
			url = strings.TrimSuffix(rest, "/update")
		}
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "package")
			w.makePackage(t, dir, url, []string{"malloc"})
			text := "libc_{version}-{release}_livepatch1.so\n@{library}\n" + tc.function +
				":malloc_lp\n"
			if err := os.WriteFile(filepath.Join(dir, "malloc.in"), []byte(text),
				0o644); err != nil {
				t.Fatal(err)
			}
			w.must(t, w.lpbuild, "-C", dir, "download")
			out, err := w.run(t, w.lpbuild, "-C", dir, "build")
			if err == nil {
				t.Fatalf("built:\n%s", out)
			}
			for _, c := range w.readReport(t, dir).Cells {
				if c.Status != buildmatrix.Refused ||
					!slices.ContainsFunc(c.Reasons, func(r gate.Reason) bool {
						return r.Code == tc.code
					}) {
					t.Errorf("%s: %s because of %v; want refused because of %s", c.Release,
						c.Status, c.Reasons, tc.code)
				}
			}
		})
	}
}

// TestRuns starts the program on each build's own loader and libc, in both ways, and finds the
// build in its memory.
func TestRuns(t *testing.T) {
	w := theWorld(t)
	for i, b := range w.builds {
		for how, p := range map[string]func() *program{
			"by the kernel": func() *program { return w.start(t, i) },
			"by the loader": func() *program { return w.startByLoader(t, i) },
		} {
			t.Run(b.Release+" "+how, func(t *testing.T) {
				p := p()
				p.wants(t)
				w.knows(t, p, b)
			})
		}
	}
}

// knows checks that lpbuild status finds a build in a program.
func (w *world) knows(t *testing.T, p *program, b glibcBuild) {
	t.Helper()
	out := w.must(t, w.lpbuild, "status", "--all", "--json", "-p", p.pid)
	if id := hex.EncodeToString(w.library(t, b).BuildID); !strings.Contains(out, id) {
		t.Errorf("lpbuild status does not list the build %s:\n%s", id, out)
	}
	for _, other := range w.builds {
		if id := hex.EncodeToString(w.library(t, other).BuildID); other.Release != b.Release &&
			strings.Contains(out, id) {
			t.Errorf("lpbuild status also lists the build %s, which is not running:\n%s", id, out)
		}
	}
}
