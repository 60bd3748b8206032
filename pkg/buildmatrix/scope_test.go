package buildmatrix

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
)

// setExports replaces what the libraries of build i export and need.
func (f *packageDir) setExports(i int, libraries map[string]download.ExportedLibrary) {
	f.t.Helper()
	data, err := (&download.ExportList{Format: download.ExportsFormat, Libraries: libraries}).
		Bytes()
	if err != nil {
		f.t.Fatal(err)
	}
	b := &f.lock.Builds[i]
	b.Exports = &download.Exports{File: fmt.Sprintf("catalogue/x86_64/TOY/%s/%s-%s/exports.json",
		b.Name, b.Version, b.Release), Digest: digest.OfBytes(data)}
	f.write(b.Exports.File, string(data))
}

// TestOnlyWhatIsLoadedProvides: a library that only lies in the same package may not be in the
// process.
func TestOnlyWhatIsLoadedProvides(t *testing.T) {
	libc := func(needed ...string) download.ExportedLibrary {
		return download.ExportedLibrary{Path: "/lib64/libc.so.6", Needed: needed, Symbols: []string{
			"__cxa_finalize@GLIBC_2.2.5", "__stack_chk_fail@GLIBC_2.4", "strlen@GLIBC_2.2.5",
			"__tls_get_addr@GLIBC_2.3",
		}}
	}
	has := func(symbols ...string) download.ExportedLibrary {
		return download.ExportedLibrary{Symbols: symbols}
	}
	tests := map[string]struct {
		libraries map[string]download.ExportedLibrary
		message   string // "": accepted
	}{
		"in no library": {map[string]download.ExportedLibrary{"libc.so.6": libc()},
			"far_away is exported neither by libtoy.so.1 nor by"},
		"in one that nothing needs": {map[string]download.ExportedLibrary{"libc.so.6": libc(),
			"libfar.so": has("far_away")}, "far_away is exported by libfar.so, which neither " +
			"libtoy.so.1 nor the container needs"},
		"in one that the target needs": {map[string]download.ExportedLibrary{
			"libc.so.6": has("far_away", "x@GLIBC_2.2.5", "x@GLIBC_2.4")}, ""},
		"in one that is needed by that": {map[string]download.ExportedLibrary{
			"libc.so.6": libc("libnear.so"), "libnear.so": {Needed: []string{"libfar.so"}},
			"libfar.so": has("far_away@V")}, ""},
		"in the dynamic loader": {map[string]download.ExportedLibrary{"libc.so.6": libc(),
			"ld-linux-x86-64.so.2": has("far_away")}, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1")
			f.setExports(0, tc.libraries)
			f.write("toy_livepatch1.c", "int far_away(int); int toy_add_lp(int a, int b) { "+
				"return far_away(a) + b; }\n")
			r, err := f.build()
			if tc.message == "" && err != nil || tc.message != "" && (!errors.Is(err, ErrRefused) ||
				!strings.Contains(reasonText(r), tc.message)) {
				t.Errorf("%v: %s; want %q", err, reasonText(r), tc.message)
			}
		})
	}
}

// TestOtherPackagesProvide: of another package any build may be installed, and other packages have
// nothing to say.
func TestOtherPackagesProvide(t *testing.T) {
	glibc := func(symbols ...string) []string {
		return append(symbols, "__cxa_finalize@GLIBC_2.2.5", "__stack_chk_fail@GLIBC_2.4",
			"strlen@GLIBC_2.2.5")
	}
	tests := map[string]struct {
		builds []map[string][]string
		want   bool
	}{
		"the only build": {[]map[string][]string{{"libc.so.6": glibc("far_away")}},
			true},
		"every build": {[]map[string][]string{{"libc.so.6": glibc("far_away@A")},
			{"libc.so.6": glibc("far_away@B")}}, true},
		"not every build": {[]map[string][]string{{"libc.so.6": glibc("far_away")},
			{"libc.so.6": glibc()}}, false},
		"beside another package": {[]map[string][]string{{"libc.so.6": glibc("far_away")},
			{"libz.so.1": {"deflate"}}}, true},
		"a library that is not in": {[]map[string][]string{{"libc.so.6": glibc()},
			{"libz.so.1": {"far_away"}}}, false},
		"nobody, and libtoy itself": {nil, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1")
			for i, libraries := range tc.builds {
				f.lock.Builds = append(f.lock.Builds, download.Build{Name: fmt.Sprint("other", i/2),
					Version: fmt.Sprint(i), Release: "1", Arch: "x86_64"})
				f.setExports(i+1, exportList(libraries).Libraries)
			}
			f.write("toy_livepatch1.c", "int far_away(int); int toy_add_lp(int a, int b) { "+
				"return far_away(a) + b; }\n")
			if r, err := f.build(); (err == nil) != tc.want {
				t.Errorf("%v: %s", err, reasonText(r))
			}
		})
	}
}

// TestUnloadable refuses what flags of the linker can do to a container.
func TestUnloadable(t *testing.T) {
	for flag, code := range map[string]string{
		"-Wl,-soname,libtoy_lp.so":                "soname",
		"-Wl,-rpath,/opt/lib":                     "run-path",
		"-Wl,-rpath,/opt/lib,--disable-new-dtags": "run-path",
		"-Wl,-z,nodlopen":                         "no-dlopen",
		"-Wl,--no-as-needed,-lm":                  "needed-library",
		"-Wl,-z,execstack":                        "executable-stack",
		"-Wl,--as-needed,-lm":                     "",
		"-lno_such_library":                       "compiler",
	} {
		f := newPackage(t, "1.0-1")
		f.edit("sources: [toy_livepatch1.c]", "sources: [toy_livepatch1.c]\n    cflags: ['"+flag+
			"']")
		r, err := f.build()
		if code == "" {
			if err != nil {
				t.Errorf("%s: %v: %s", flag, err, reasonText(r))
			}
			continue
		}
		if err == nil || len(r.Cells[0].Reasons) == 0 || r.Cells[0].Reasons[0].Code != code ||
			code != "compiler" && r.Cells[0].Reasons[0].Hint == "" {
			t.Errorf("%s: %v: %s; want %s", flag, err, reasonText(r), code)
		}
	}
}

// TestNeededLibraryOfTheLock: a library that another package of the lock has may be linked with.
func TestNeededLibraryOfTheLock(t *testing.T) {
	f := newPackage(t, "1.0-1")
	f.lock.Builds = append(f.lock.Builds, download.Build{Name: "glibc", Version: "2.31",
		Release: "1", Arch: "x86_64"})
	f.setExports(1, exportList(map[string][]string{"libm.so.6": {"sin@GLIBC_2.2.5"}}).Libraries)
	f.edit("sources: [toy_livepatch1.c]", "sources: [toy_livepatch1.c]\n    cflags: "+
		"['-Wl,--no-as-needed,-lm']")
	f.mustBuild()
}

// TestEngines says which engine can apply a container, in the report too.
func TestEngines(t *testing.T) {
	const replacement = "int toy_add_lp(int a, int b) { return a + b; }\n"
	tests := map[string]struct {
		source  string
		notes   string
		engines string
	}{
		"plain": {replacement, "", "pulp native"},
		"constructor": {replacement + "__attribute__((constructor)) static void f(void) { " +
			"__asm__ volatile(\"\"); }\n", "constructors", "pulp"},
		"thread-local": {"__thread int n; int toy_add_lp(int a, int b) { return n += a; }\n",
			"thread-local", "pulp"},
		"static TLS": {"__attribute__((tls_model(\"initial-exec\"))) __thread int n; int " +
			"toy_add_lp(int a, int b) { return n += a; }\n", "thread-local static-tls", "pulp"},
		"indirect function": {replacement + "static int p(int a) { return a; }\nstatic void " +
			"*r(void) { return p; }\n" +
			"int toy_i(int) __attribute__((ifunc(\"r\")));\n", "local-ifunc", "pulp"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1")
			f.setExports(0, exportList(map[string][]string{"libc.so.6": {"x@GLIBC_2.2.5"},
				"ld-linux-x86-64.so.2": {"__tls_get_addr@GLIBC_2.3"}}).Libraries)
			f.write("toy_livepatch1.c", tc.source)
			c := f.mustBuild().Cells[0]
			var notes []string
			for _, n := range c.Notes {
				notes = append(notes, n.Code)
				if n.Message == "" || n.Hint == "" {
					t.Errorf("%+v says nothing", n)
				}
			}
			if got := strings.Join(notes, " "); got != tc.notes {
				t.Errorf("notes are %q, want %q", got, tc.notes)
			}
			if got := strings.Join(c.Engines, " "); got != tc.engines {
				t.Errorf("engines are %q, want %q", got, tc.engines)
			}
			written, err := ReadReport(f.dir + "/" + config.BuildDir)
			if err != nil || len(written.Cells[0].Notes) != len(notes) {
				t.Errorf("the report has %+v, %v", written, err)
			}
		})
	}
}

// TestReportListsAreLists: programs read [] where there is nothing, not null.
func TestReportListsAreLists(t *testing.T) {
	t.Setenv("LPBUILD_CC_X86_64", "no-such-compiler")
	f := newPackage(t, "1.0-1")
	r, _ := f.build()
	data, err := json.Marshal(r)
	if err != nil || strings.Contains(string(data), "null") ||
		!strings.Contains(string(data), `"inputs":[]`) {
		t.Errorf("%v: %s", err, data)
	}
}

// TestOwnLibraryInAnotherVersion: this build's libc.so.6 has the function, but not in the version
// that the container needs.
func TestOwnLibraryInAnotherVersion(t *testing.T) {
	const source = "#include <string.h>\nint toy_add_lp(int a, int b) { extern char *toy_text; " +
		"return strlen(toy_text) + a + b; } char *toy_text = \"x\";\n"
	for name, tc := range map[string]struct {
		symbols []string
		message string
	}{
		"in that version": {[]string{"strlen@GLIBC_2.2.5"}, ""},
		"in another version": {[]string{"strlen@GLIBC_2.17", "malloc@GLIBC_2.2.5"},
			"strlen@GLIBC_2.2.5: this build's libc.so.6 exports strlen, but not in that version"},
		"not at all": {[]string{"malloc@GLIBC_2.2.5"}, "strlen@GLIBC_2.2.5 is not exported by " +
			"this build's libc.so.6"},
		"no such version": {[]string{"strlen@GLIBC_2.17"}, "the container needs version " +
			"GLIBC_2.2.5 of libc.so.6 (for strlen"},
	} {
		f := newPackage(t, "1.0-1")
		f.setExports(0,
			exportList(map[string][]string{"libc.so.6": append(tc.symbols, "x@GLIBC_2.4")}).
				Libraries)
		f.write("toy_livepatch1.c", source)
		// libtoy itself imports strlen: without that the gate would take its word for it.
		f.edit("library: libtoy.so.1", "library: /usr/lib64/libplain.so")
		f.plainLibrary()
		r, err := f.build()
		if (err == nil) != (tc.message == "") || !strings.Contains(reasonText(r), tc.message) {
			t.Errorf("%s: %v: %s", name, err, reasonText(r))
		}
	}
}

// plainLibrary replaces the library of the first build by one without a SONAME that imports nothing
// but weak symbols.
func (f *packageDir) plainLibrary() {
	f.t.Helper()
	lib := &f.lock.Builds[0].Libraries[0]
	lib.Name, lib.Path = "/usr/lib64/libplain.so", "/usr/lib64/libplain.so"
	parsed := f.catalogued(compilePlain(f.t), "libplain.so", true)
	catalogue := parsed.AppendCatalogue(nil)
	lib.BuildID, lib.Pinned = fmt.Sprintf("%x", parsed.BuildID), digest.OfBytes(catalogue)
	f.write(lib.Catalogue, string(catalogue))
}
