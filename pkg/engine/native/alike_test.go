package native

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// What a container's references are bound to is what the dynamic loader itself binds them to in the
// same process: it loads the very same file, and all words that it and the engine have filled in
// are compared.

// binds compiles the program of these tests with a library.
func binds(t *testing.T, lib string, flags ...string) string {
	t.Helper()
	return gcc(t, "binds",
		append([]string{"testdata/binds.c", lib, "-Wl,-rpath," + filepath.Dir(lib)}, flags...)...)
}

// alike has the loader load a live patch, applies it, and compares all that is bound to other
// objects.
func (c *child) alike(p *Patch) {
	c.t.Helper()
	path := file(c.t, p)
	c.says("load "+path, "ok")
	c.apply(Options{}, p)
	v := opened(c.t.(*testing.T), c.pid)
	i := slices.IndexFunc(v.libs, func(l *rtld.Library) bool { return l.Path == path })
	if i < 0 {
		c.t.Fatalf("%s is not there", path)
	}
	theirs, ours := v.libs[i].Bias, imageOf(c.t, v, p)
	for _, r := range p.relocations {
		sym := p.symbols[r.symbol]
		if r.kind == elf.R_X86_64_RELATIVE || sym.defined && !sym.absolute {
			continue
		}
		want, err := readWord(c.t, v, theirs+r.off)
		if err != nil {
			c.t.Fatal(err)
		}
		if got, err := readWord(c.t, v, ours+r.off); err != nil || got != want {
			c.t.Errorf("%v of %s@%s: bound to %s, the dynamic loader binds it to %s (%v)", r.kind,
				sym.name, sym.version, where(v, got), where(v, want), err)
		}
	}
}

// imageOf returns where a live patch's address 0 is in a process.
func imageOf(t testing.TB, v *view, p *Patch) uint64 {
	t.Helper()
	st, err := v.readState(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range st.records {
		if r.PatchID == p.Meta.PatchID {
			return r.Functions[0].Replacement - p.replacements[0]
		}
	}
	t.Fatal("it is not applied")
	return 0
}

// where describes an address.
func where(v *view, addr uint64) string {
	for _, l := range v.libs {
		if l.Contains(addr, 1) {
			return fmt.Sprintf("%s+%#x", l.Name, addr-l.Bias)
		}
	}
	return fmt.Sprintf("%#x", addr)
}

// TestAddressTaken: the address of a function is what it is for the program, which has a place of
// its own for it if it takes the address without asking the loader. What is only called is the
// function itself.
func TestAddressTaken(t *testing.T) {
	lib := library(t, nopFlags)
	patches := map[elf.R_X86_64]*Patch{
		elf.R_X86_64_JMP_SLOT: pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, "-Wl,-z,lazy",
			source(t, "int helper(void);", "helper()")),
		elf.R_X86_64_GLOB_DAT: pack(t, lib, "first:first_lp\n", ulp.PackOptions{},
			source(t, "int helper(void), (*volatile pointer)(void);", "(pointer = helper)()")),
		elf.R_X86_64_64: pack(t, lib, "first:first_lp\n", ulp.PackOptions{},
			source(t, "int helper(void), (*volatile pointer)(void) = helper;", "pointer()")),
	}
	for name, flags := range map[string][]string{"fixed": {"-no-pie", "-fno-pie", "-DTAKES=helper"},
		"PIE": {"-pie", "-fPIE", "-DTAKES=helper"}, "not taken": {"-no-pie", "-fno-pie"}} {
		program := binds(t, lib, flags...)
		if got := hasEntry(t, program, "helper"); got != (name == "fixed") {
			t.Fatalf("the program has an entry for it: %t", got)
		}
		for kind, p := range patches {
			t.Run(name+" "+kind.String(), func(t *testing.T) {
				if !slices.ContainsFunc(p.relocations, func(r relocation) bool {
					return r.kind == kind && p.symbols[r.symbol].name == "helper"
				}) {
					t.Fatalf("it has none: %+v", p.relocations)
				}
				c := start(t, program, 0)
				c.alike(p)
				c.says("", "3")
			})
		}
	}
}

// TestIndirectTaken: so it is for an indirect function, whose implementation then nobody needs to
// know; also if the program's table says of its place what the function is.
func TestIndirectTaken(t *testing.T) {
	lib := library(t, nopFlags, "testdata/chooser.c")
	program := binds(t, lib, "-no-pie", "-fno-pie", "-DTAKES=chosen")
	for name, path := range map[string]string{"as linked": program, "named so": changed(t, program,
		"chosen", func(row, _ []byte) {
			row[4] = elf.ST_INFO(elf.STB_GLOBAL, elf.STT_GNU_IFUNC)
		})} {
		t.Run(name, func(t *testing.T) {
			if !hasEntry(t, path, "chosen") {
				t.Fatal("the program has no entry for it")
			}
			c := start(t, path, 0)
			c.alike(pack(t, lib, "first:first_lp\n", ulp.PackOptions{},
				source(t, "int chosen(void), (*volatile pointer)(void) = chosen;",
					"pointer() + 40")))
			c.says("", "42")
		})
	}
}

// hasEntry reports whether a program has a place of its own for a function that it does not define.
func hasEntry(t *testing.T, program, name string) bool {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(symbols, func(s elf.Symbol) bool {
		return s.Name == name && s.Section == elf.SHN_UNDEF && s.Value != 0
	})
}

// TestAbsolute: what a library has as a number by the name of a symbol is no address, wherever the
// library is; nor is that of the container itself.
func TestAbsolute(t *testing.T) {
	lib := library(t, nopFlags, "-Wl,--defsym=number=4711", "-Wl,--defsym=nothing=0")
	p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, "-Wl,--defsym=own=1000000", source(t,
		"extern char number[], nothing[], own[]; char *volatile pointer = number + 10000;",
		"(int)(unsigned long)pointer + (int)(unsigned long)number + (int)(unsigned long)nothing "+
			"+ (int)(unsigned long)own"))
	c := start(t, binds(t, lib), 0)
	c.alike(p)
	c.says("", "1019422")
}

// readWord reads 8 bytes of a process.
func readWord(t testing.TB, v *view, addr uint64) (uint64, error) {
	var b [8]byte
	_, err := v.m.ReadAt(t.Context(), b[:], addr)
	return le.Uint64(b[:]), err
}

// TestMovesAbsolute asks this machine's dynamic loader whether it moves numbers with the library,
// as those before glibc 2.28 do.
func TestMovesAbsolute(t *testing.T) {
	v := opened(t, start(t, binds(t, library(t, nopFlags)), 0).pid)
	if moved, err := v.loaded.MovesAbsolute(t.Context()); moved || err != nil {
		t.Errorf("the loader of this machine: %t, %v", moved, err)
	}
}

// preloads are libraries that go before the one that is patched and have a function "versioned",
// too: the name that they give in() by .symver, if they do, their version script, if they have one,
// and a change of what their table says of its versions.
var preloads = []struct {
	name, symver, script string
	change               func(version uint16) uint16
}{
	{name: "without versions"},
	{"the same version", "versioned@@V2", "V2 { global: versioned; };", nil},
	{"another version, the oldest", "versioned@@W1", "W1 { global: versioned; };", nil},
	{"another version, the oldest, hidden", "versioned@W1", "W1 { global: versioned; };", nil},
	{"another version, not the oldest", "versioned@@W2", newer, nil},
	{"another version, not the oldest, hidden", "versioned@W2", newer, nil},
	{"two versions, neither the oldest", `versioned@@W2"); asm(".symver nobody, versioned@W3`,
		newer + "W3 { global: versioned; } W2;", nil},
	{"two versions that both seem to be the default one",
		`versioned@@W2"); asm(".symver nobody, versioned@W3`, newer +
			"W3 { global: versioned; } W2;", func(v uint16) uint16 { return v &^ 0x8000 }},
	{"versions of other functions only", "", "W1 { global: nobody; };", nil},
	{"versions of other functions only, hidden", "", "W1 { global: nobody; };",
		func(v uint16) uint16 { return v | 0x8000 }},
}

const newer = "W1 { global: first; };\nW2 { global: versioned; } W1;\n"

// preloaded compiles one of them.
func preloaded(t *testing.T, i int) string {
	t.Helper()
	pre, text := preloads[i], "int versioned(void) { return 3; }"
	if pre.symver != "" {
		text = "int in(void) { return 3; }\nasm(\".symver in, " + pre.symver + "\");"
	}
	args := []string{"-shared", "-fPIC", source(t, text+"\nint nobody(void) { return 0; }", "0")}
	if pre.script != "" {
		script := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(script, []byte(pre.script), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-Wl,--version-script="+script)
	}
	path := gcc(t, "preload.so", args...)
	if pre.change != nil {
		path = changed(t, path, "versioned", func(_, version []byte) {
			le.PutUint16(version, pre.change(le.Uint16(version)))
		})
	}
	return path
}

// changed makes a copy of a file in which a symbol's row of .dynsym and its version are changed.
func changed(t *testing.T, path, name string, change func(row, version []byte)) string {
	t.Helper()
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range symbols {
		if s.Name == name {
			change(image[f.Section(".dynsym").Offset+uint64(i+1)*symbolSize:],
				image[f.Section(".gnu.version").Offset+uint64(i+1)*2:])
		}
	}
	path = filepath.Join(t.TempDir(), filepath.Base(path))
	if err := os.WriteFile(path, image, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestVersionsAlike: which of several definitions a reference means is a matter of versions, in
// every combination of what the reference asks for and what the libraries have.
func TestVersionsAlike(t *testing.T) {
	lib := library(t, nopFlags, "testdata/versions.c", "-Wl,--version-script=testdata/versions.map")
	const plain = "int versioned(void); int (*volatile pointer)(void) = versioned;"
	const old = `int versioned(void); asm(".symver versioned, versioned@V1");`
	linked := func(text string, libs ...string) *Patch {
		return pack(t, lib, "first:first_lp\n", ulp.PackOptions{},
			append([]string{source(t, text, "versioned() + 40")}, libs...)...)
	}
	program := binds(t, lib)
	envs := map[string][]string{"nothing": nil}
	for i, pre := range preloads {
		envs[pre.name] = []string{"LD_PRELOAD=" + preloaded(t, i)}
	}
	for name, p := range map[string]*Patch{"the old one": linked(old, lib),
		"the default one": linked(plain, lib), "none": linked(plain)} {
		for before, env := range envs {
			t.Run(name+" behind "+before, func(t *testing.T) {
				start(t, program, 0, env...).alike(p)
			})
		}
	}
}

// TestCopyOfVersion: the program's copy of a variable has the version that the program was linked
// with; another version is the library's.
func TestCopyOfVersion(t *testing.T) {
	vars := source(t, `int in_v1 = 1, in_v2 = 2; asm(".symver in_v1, variable@V1"); asm(".symver `+
		`in_v2, variable@@V2");`, "0")
	lib := library(t, nopFlags, vars, "-Wl,--version-script=testdata/versions.map")
	program := binds(t, lib, "-no-pie", "-fno-pie", "-DCOPIES")
	if !hasCopy(t, program) {
		t.Skip("this compiler makes no COPY relocations")
	}
	for name, tc := range map[string]struct{ declaration, want string }{
		"the copied one": {"extern int variable;", "3"},
		"the other one":  {`extern int variable; asm(".symver variable, variable@V1");`, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{},
				source(t, tc.declaration, "variable"), lib)
			c := start(t, program, 0)
			c.alike(p)
			c.says("", tc.want)
		})
	}
}
