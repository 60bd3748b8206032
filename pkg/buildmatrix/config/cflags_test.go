package config

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func checkFlags(list ...string) error {
	var c flagChecker
	for _, s := range list {
		if err := c.check(s); err != nil {
			return err
		}
	}
	return c.end()
}

// allowed are flags that packages need.
var allowed = [][]string{
	{"-O1"}, {"-Os"}, {"-g3"}, {"-gdwarf-4"}, {"-std=gnu11"}, {"-std=c++17"}, {"-Wall"},
	{"-Wno-error=int-conversion"}, {"-Wformat=2"},
	{"-D_GNU_SOURCE"}, {"-D", "NAME=\"a b\""}, {"-DX(a)=a"}, {"-UNAME"}, {"-Isub"},
	{"-I", "sub/dir"}, {"-isystem", "sub"}, {"-I/usr/include/sub"},
	{"-include", "sub/own.h"}, {"-Lsub"}, {"-lm"}, {"-l", "m"}, {"-fno-builtin"},
	{"-fno-tree-loop-distribute-patterns"}, {"-fexceptions"},
	{"-fvisibility=hidden"}, {"-fcf-protection=full"}, {"-fpatchable-function-entry=0"}, {"-flto"},
	{"-fno-omit-frame-pointer"}, {"-fwrapv"},
	{"-mcpu=power10"}, {"-march=x86-64-v3"}, {"-mno-sse"}, {"-m64"}, {"-mtune=generic"},
	{"-pthread"}, {"-nostdlib"}, {"-x", "c"},
	{"-Wl,-z,now"}, {"-Wl,-z,notext"}, {"-Wl,--version-script=sub/lp.map"}, {"-Wl,-Bsymbolic"},
	{"-Wl,--as-needed,-lm"}, {"-Wl,--no-as-needed,-lm"},
	{"-Wl,--defsym=a=b"}, {"-Wl,--gc-sections"}, {"-Wl,-soname,a.so"}, {"-Wl,-u,name"},
	{"-Wa,--noexecstack"}, {"-Wp,-DX=1"},
}

// refused are flags by which a package could run something, read or write elsewhere, or be another
// one on another machine.
var refused = [][]string{
	{"--prefix=/tmp/evil"}, {"-B/tmp/evil"}, {"-B", "evil"}, {"-Bevil"}, {"-Wl,-plugin,evil.so"},
	{"-Wl,--plugin=evil.so"}, {"-Wl,-plugin-opt=a"},
	{"-Xlinker", "-plugin=evil.so"}, {"-Xassembler", "-a=out"}, {"-Xpreprocessor", "-MD"},
	{"--plugin=evil.so"}, {"--specs=evil"}, {"-specs=evil"},
	{"-Wp,-MD,/tmp/out"}, {"-Wp,-MMD,out"}, {"-Wl,-Map=/tmp/out"}, {"-Wl,-Map,out"},
	{"-Wl,--Map=out"}, {"-Wa,-a=/tmp/out"}, {"-Wa,-al=out"},
	{"-Wa,--MD,out"}, {"-Wa,-o,out"}, {"-Wl,-o,out"}, {"-Wl,--output=out"},
	{"-Wl,--dependency-file=out"}, {"-Wl,--out-implib=out"},
	{"-fdump-tree-all=/tmp/out"}, {"-fdump-tree-all"}, {"-fdump-final-insns=out"},
	{"-fdump-ada-spec"}, {"-aux-info", "/tmp/out"}, {"-aux-info=out"},
	{"--output=/tmp/out"}, {"--output", "out"}, {"-o", "out"}, {"-oout"},
	{"-include", "/etc/passwd"}, {"-include", "../x.h"}, {"-include/etc/passwd"},
	{"--include=/etc/passwd"}, {"-imacros", "/etc/passwd"}, {"-iquote", "/etc"},
	{"-isysroot", "/tmp"}, {"--sysroot=/tmp"}, {"-iprefix", "/tmp"},
	{"-fplugin=evil.so"}, {"-fplugin=evil"}, {"-fplugin-arg-a-b=c"}, {"-wrapper", "evil"},
	{"-wrapper=evil"}, {"--wrapper=evil"}, {"-save-temps"},
	{"--save-temps"}, {"-save-temps=obj"}, {"-fstack-usage"}, {"-fcallgraph-info"},
	{"-fprofile-generate"}, {"-fprofile-generate=/tmp"},
	{"-fprofile-use=/tmp/in"}, {"--coverage"}, {"-coverage"}, {"-ftest-coverage"},
	{"-fprofile-arcs"}, {"-fauto-profile=/tmp/in"}, {"-fopt-info-all=out"},
	{"-fcompare-debug"}, {"-gsplit-dwarf"}, {"-fuse-ld=evil"}, {"-T", "script"}, {"-Tscript"},
	{"-Wl,-T,script"}, {"-Wl,--script=script"},
	{"-Wl,-dT,script"}, {"@flags"}, {"-Wl,@flags"}, {"-Wa,@flags"}, {"-E"}, {"-S"}, {"-c"}, {"-M"},
	{"-MD"}, {"-MF", "out"}, {"-dumpdir", "/tmp"}, {"-dumpbase", "x"},
	{"-fsave-optimization-record"}, {"-fdiagnostics-add-output=sarif:file=out"},
	{"-fdiagnostics-format=sarif-file"}, {"-fmodules-ts"},
	{"-fmodule-mapper=|evil"}, {"-foffload=evil"}, {"-Wl,-rpath-link,/tmp"},
	{"-Wl,--just-symbols=/etc/x"}, {"-Wl,-R,/tmp"}, {"-Wl,--retain-symbols-file=/etc/x"},
	{"-l:../../evil.a"}, {"-l/tmp/evil"}, {"/tmp/evil.o"}, {"evil.c"}, {"-Wl,evil.o"}, {"-Wl,evil"},
	{"-Wl,-soname"}, {"-Wl,-script"}, {"-Wl,-z"}, {"-Wl,/tmp/evil.o"}, {"-Wl,-z,now,/tmp/evil.o"},
	{"-Wl,-z,-plugin,evil.so"},
	{"-march=native"}, {"-mtune=native"}, {"-mcpu=native"},
	{"-x"}, {"-I"}, {"-D"}, {""}, {"-"}, {"--"}, {"-Wl,"}, {"-Wl,-z,@flags"}, {"-D", "@flags"},
	{"-no-canonical-prefixes"}, {"-print-prog-name=as"},
	{"-Wl,-soname,@flags"}, {"-Wl,--dynamic-list=/etc/x"}, {"-ffile-prefix-map"},
	{"-fno-plugin=evil"}, {"-fdirectives-only"}, {"-frandom-seed"},
}

func TestFlags(t *testing.T) {
	for _, list := range allowed {
		if err := checkFlags(list...); err != nil {
			t.Errorf("%q: %v", list, err)
		}
	}
	for _, list := range refused {
		if slices.Equal(list, []string{"-ffile-prefix-map"}) ||
			slices.Equal(list, []string{"-frandom-seed"}) {
			continue // the compiler refuses them itself
		}
		if err := checkFlags(list...); err == nil {
			t.Errorf("%q is accepted", list)
		}
	}
}

// TestFlagsWriteNothing compiles with each flag that is accepted: nothing appears but what is asked
// for.
func TestFlagsWriteNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.c"), "int f(int a) { return a; }\n")
	write(t, filepath.Join(dir, "sub", "own.h"), "")
	write(t, filepath.Join(dir, "sub", "lp.map"), "{ global: f; local: *; };\n")
	for _, list := range allowed {
		if strings.HasPrefix(list[0], "-mcpu=power") {
			continue
		}
		cmd := exec.Command("gcc", slices.Concat([]string{"-shared", "-fPIC", "-o", "a.so", "a.c"},
			list)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil && !strings.Contains(string(out), "error:") &&
			!strings.Contains(string(out), "ld: ") {
			t.Errorf("%q: %v: %s", list, err, out)
		}
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if !slices.Contains([]string{"a.c", "a.so", "sub"}, f.Name()) {
				t.Fatalf("%q: the compiler has written %s", list, f.Name())
			}
		}
	}
}

// FuzzFlags: whatever a flag is, it is refused if it begins like one that names a program or an
// output.
func FuzzFlags(f *testing.F) {
	for _, list := range slices.Concat(allowed, refused) {
		f.Add(strings.Join(list, "\x00"))
	}
	f.Fuzz(func(t *testing.T, joined string) {
		list := strings.Split(joined, "\x00")
		if checkFlags(list...) != nil {
			return
		}
		for i, s := range list {
			if i > 0 && (slices.Contains(pathFlags, list[i-1]) ||
				slices.Contains(wordFlags, list[i-1])) {
				continue
			}
			for _, bad := range []string{"--", "@", "-o", "-B", "-T", "-X", "-M", "-wrapper",
				"-specs", "-fplugin", "-fdump", "-save"} {
				if strings.HasPrefix(s, bad) {
					t.Fatalf("%q is accepted", s)
				}
			}
			if !strings.HasPrefix(s, "-") {
				t.Fatalf("%q is accepted, which is a file", s)
			}
		}
	})
}
