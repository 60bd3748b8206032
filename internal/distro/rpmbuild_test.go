package distro

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The two layouts of glibc: every library in its own file, and all in libc.so.6.
var (
	old = Build{Name: "glibc", Version: "2.31", Release: "150300.26.5", Variant: 3,
		Compression: "xz"}
	young = Build{Name: "glibc", Version: "2.38", Release: "150600.12.1", Variant: 5,
		Compression: "zstd", CET: true}
)

func TestRPMsAreReproducible(t *testing.T) {
	dir := t.TempDir()
	rpms, debuginfo, err := makeRPMs(t.Context(), dir, []Build{old})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{old.FileName(), old.debuginfoFileName()},
		contentOf(t, dir)); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	rpm, debug := rpmOf(t, old)
	for made, cached := range map[string]string{rpms[0]: rpm, debuginfo[0]: debug} {
		a, errA := os.ReadFile(made)
		b, errB := os.ReadFile(cached)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs from %s (%v, %v)", made, cached, errA, errB)
		}
	}
}

func TestRPMsAreWhatABuildSays(t *testing.T) {
	when := time.Date(2024, 2, 29, 1, 2, 3, 4, time.UTC)
	for _, payload := range []string{"xz", "zstd", "gzip", "bzip2", "lzma"} {
		rpm, debuginfo := rpmOf(t, Build{Name: "hello", Version: "2.0~rc1", Release: "1_2^3",
			Epoch: 4, Arch: "noarch",
			BuildTime: when, Compression: payload})
		got := output(t, ".", "rpm", "-qp", "--qf", "%{NEVRA} %{PAYLOADCOMPRESSOR} %{BUILDTIME} "+
			"%{BUILDHOST}", rpm)
		if want := "hello-4:2.0~rc1-1_2^3.noarch " + payload + " 1709168523 lpbuild"; got != want ||
			debuginfo != "" {
			t.Errorf("rpm says %q, want %q; debuginfo %q", got, want, debuginfo)
		}
		if info, err := os.Stat(rpm); err != nil ||
			!info.ModTime().Equal(when.Truncate(time.Second)) {
			t.Errorf("%s: time %v, %v", rpm, info.ModTime(), err)
		}
	}
}

func TestMakeRPMsErrors(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := makeRPMs(ctx, dir, []Build{old}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, _, err := makeRPMs(t.Context(), t.TempDir()+"/my directory", []Build{old}); err == nil ||
		!strings.Contains(err.Error(), `a path with ' '`) {
		t.Errorf("a directory with a space: %v", err)
	}
	t.Setenv("PATH", "/nonexistent")
	if _, _, err := makeRPMs(t.Context(), dir, []Build{old}); err == nil ||
		!strings.Contains(err.Error(), `"gcc"`) {
		t.Errorf("without gcc: %v", err)
	}
	ppc := old
	ppc.Arch = "ppc64le"
	if _, _, err := makeRPMs(t.Context(), dir, []Build{ppc}); err == nil ||
		!strings.Contains(err.Error(), "gcc-powerpc64le-linux-gnu") {
		t.Errorf("without the cross compiler: %v", err)
	}
	if _, _, err := cachedRPMs(t.Context(), []Build{old}); err == nil ||
		!strings.Contains(err.Error(), "package rpm, SUSE in rpm-build)") {
		t.Errorf("without rpm: %v", err)
	}
	if left := contentOf(t, dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestOldLayout(t *testing.T) {
	rpm, debuginfo := rpmOf(t, old)
	wantLines(t, output(t, ".", "rpm", "-qp", "--provides", rpm), "glibc = 2.31-150300.26.5",
		"libc.so.6()(64bit)",
		"libc.so.6(GLIBC_2.14)(64bit)", "libpthread.so.0(GLIBC_2.2.5)(64bit)",
		"ld-linux-x86-64.so.2(GLIBC_2.3)(64bit)")
	wantLines(t, output(t, ".", "rpm", "-qpl", rpm), "/lib64/libc-2.31.so", "/lib64/libc.so.6",
		"/lib64/libpthread-2.31.so",
		"/lib64/libpthread.so.0", "/lib64/librt.so.1", "/lib64/libdl.so.2",
		"/lib64/ld-linux-x86-64.so.2", "/usr/lib64/gconv/ISO-2022-CN-EXT.so")
	dir := unpack(t, rpm, debuginfo)
	if to, err := os.Readlink(filepath.Join(dir, "lib64/libc.so.6")); to != "libc-2.31.so" {
		t.Errorf("libc.so.6 is a link to %q, %v", to, err)
	}
	wantLines(t, dynamicSymbols(t, dir+"/lib64/libpthread.so.0"),
		"T pthread_mutex_lock@@GLIBC_2.2.5", "T pthread_create@@GLIBC_2.2.5")
	symbols := dynamicSymbols(t, dir+"/lib64/libc.so.6")
	wantLines(t, symbols, "T __libc_start_main@@GLIBC_2.2.5", "T __libc_malloc@@GLIBC_2.2.5",
		"i memcpy@@GLIBC_2.14",
		"T memcpy@GLIBC_2.2.5", "B errno@@GLIBC_PRIVATE")
	if strings.Contains(symbols, "pthread_mutex_lock") {
		t.Error("libc.so.6 has pthread_mutex_lock before 2.34")
	}
	wantDebuginfo(t, dir, debuginfo, "/lib64/libc-2.31.so",
		"libc-2.31.so-2.31-150300.26.5.x86_64.debug")
}

func TestYoungLayout(t *testing.T) {
	rpm, debuginfo := rpmOf(t, young)
	dir := unpack(t, rpm, debuginfo)
	if info, err := os.Lstat(filepath.Join(dir, "lib64/libc.so.6")); err != nil ||
		info.Mode() != 0o755 {
		t.Errorf("libc.so.6: %v, %v", info.Mode(), err)
	}
	wantLines(t, dynamicSymbols(t, dir+"/lib64/libc.so.6"), "T pthread_mutex_lock@@GLIBC_2.2.5",
		"T pthread_create@@GLIBC_2.34",
		"T pthread_create@GLIBC_2.2.5", "T __libc_start_main@@GLIBC_2.34",
		"T __libc_start_main@GLIBC_2.2.5", "T strlcpy@@GLIBC_2.38")
	if symbols := dynamicSymbols(t, dir+"/lib64/libpthread.so.0"); strings.Contains(symbols,
		"pthread_mutex_lock") {
		t.Errorf("libpthread.so.0 still has pthread_mutex_lock:\n%s", symbols)
	}
	wantDebuginfo(t, dir, debuginfo, "/lib64/libc.so.6", "libc.so.6-2.38-150600.12.1.x86_64.debug")
}

// dynamicSymbols returns lines "TYPE NAME@VERSION".
func dynamicSymbols(t *testing.T, file string) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(output(t, ".", "nm", "-D", "--with-symbol-versions", file)) {
		words := strings.Fields(line)
		b.WriteString(strings.Join(words[max(0, len(words)-2):], " ") + "\n")
	}
	return b.String()
}

// wantDebuginfo checks that the library is stripped and that debuggers find its symbols.
func wantDebuginfo(t *testing.T, dir, rpm, library, debugName string) {
	t.Helper()
	stripped, err := elf.Open(dir + library)
	if err != nil {
		t.Fatal(err)
	}
	defer stripped.Close()
	if stripped.Section(".symtab") != nil ||
		stripped.Section("__patchable_function_entries") == nil ||
		stripped.Section(".gnu_debuglink") == nil {
		t.Errorf("sections of %s are not those of a stripped, patchable library", library)
	}
	id := buildID(t, stripped)
	wantLines(t, output(t, ".", "rpm", "-qp", "--provides", rpm), "debuginfo(build-id) = "+id)
	byID := filepath.Join(dir, "usr/lib/debug/.build-id", id[:2], id[2:]+".debug")
	byName := filepath.Join(dir, "usr/lib/debug", filepath.Dir(library), debugName)
	if real, err := filepath.EvalSymlinks(byID); err != nil || real != byName {
		t.Errorf("%s leads to %s, %v", byID, real, err)
	}
	debug, err := elf.Open(byID)
	if err != nil {
		t.Fatal(err)
	}
	defer debug.Close()
	if got := buildID(t, debug); got != id {
		t.Errorf("build-id %s of the debug file, %s of the library", got, id)
	}
	if _, err := debug.DWARF(); err != nil {
		t.Error(err)
	}
	types := map[string]elf.SymType{}
	symbols, err := debug.Symbols()
	for _, s := range symbols {
		types[s.Name] = elf.ST_TYPE(s.Info)
	}
	want := map[string]elf.SymType{"main_arena": elf.STT_OBJECT, "_int_malloc": elf.STT_FUNC,
		"__libc_errno": elf.STT_TLS,
		"tcache":       elf.STT_TLS, "__memcpy_avx_unaligned": elf.STT_FUNC,
		"__memcpy_sse2_unaligned": elf.STT_FUNC,
		"__memcpy_erms":           elf.STT_FUNC, "__memcpy_chk_erms": elf.STT_FUNC,
		"memcpy_ifunc_selector": elf.STT_FUNC,
		"memcpy@@GLIBC_2.14":    elf.STT_GNU_IFUNC, "__vsyslog_internal": elf.STT_FUNC}
	for name, typ := range want {
		if types[name] != typ {
			t.Errorf("symbol %s has type %v, want %v (%v)", name, types[name], typ, err)
		}
	}
}

// buildID returns the build-id in hexadecimal: the note has 4+4+4 bytes, "GNU\0", and 20 bytes.
func buildID(t *testing.T, f *elf.File) string {
	t.Helper()
	note, err := f.Section(".note.gnu.build-id").Data()
	if err != nil || len(note) != 36 {
		t.Fatalf("build-id note of %d bytes, %v", len(note), err)
	}
	return hexOf(note[16:])
}
