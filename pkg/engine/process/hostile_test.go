package process_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/internal/forged"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// One process has every lie mapped at once, and names that are made to be printed. Each image has
// its verdict, and the true libraries beside them are seen.
func TestLiar(t *testing.T) {
	dir := t.TempDir()
	args := []string{"map"}
	lies := make(map[string]forged.Lie)
	for name, lie := range forged.Lies {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(path, forged.Library(lie.Changes...), 0o755); err != nil {
			t.Fatal(err)
		}
		args, lies[filepath.Base(path)] = append(args, path), lie
	}
	target := start(t, args...)
	m := memory(t, target.pid)
	list, err := m.Libraries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	libc := false
	for _, l := range list {
		lie, forged := lies[l.Name]
		delete(lies, l.Name)
		libc = libc || l.SONAME == "libc.so.6" && l.Problem == nil
		if !forged {
			continue
		}
		if !errors.Is(l.Problem, lie.Listed) {
			t.Errorf("%s: Problem %v, want %v", l.Name, l.Problem, lie.Listed)
		}
		if l.Problem != nil {
			continue
		}
		s, err := m.Symbols(t.Context(), l)
		if err == nil {
			_, err = s.Lookup(t.Context(), "trigger", "")
			if _, none := s.Lookup(t.Context(), "nobody", ""); !errors.Is(none, ulp.ErrNoSymbol) {
				err = errors.Join(err, none)
			}
			for range s.All(t.Context()) { // it ends
			}
		}
		if !errors.Is(err, lie.Symbols) {
			t.Errorf("%s: symbols: %v, want %v", l.Name, err, lie.Symbols)
		}
	}
	if len(lies) > 0 || !libc {
		t.Errorf("not seen: %v; libc.so.6 seen: %v", lies, libc)
	}
}

func TestHostileNames(t *testing.T) {
	dir := t.TempDir()
	tests := map[string]string{ // what the kernel shows, by name
		"new\nline":              `new\012line`,
		"\x1b[31mred\x1b[0m":     "\x1b[31mred\x1b[0m",
		"libc.so.6 (deleted)":    "libc.so.6",
		`\012`:                   `\012`,
		"  spaces  ":             "  spaces  ",
		"\xff\xfe":               "\xff\xfe",
		strings.Repeat("n", 255): strings.Repeat("n", 255),
	}
	args := []string{"map"}
	for name := range tests {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, forged.Library(), 0o755); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	list, err := memory(t, start(t, args...).pid).Libraries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, l := range list {
		seen[l.Name] = seen[l.Name] || l.SONAME == "liar.so"
	}
	for name, shown := range tests {
		if !seen[shown] {
			t.Errorf("%q is not seen as %q", name, shown)
		}
	}
}

func TestUnreadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lib.so")
	write := func() {
		if err := os.WriteFile(path, forged.Library(), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("cut off", func(t *testing.T) {
		write()
		l := libraries(t, start(t, "cut", path).pid)["lib.so"]
		if l == nil || !errors.Is(l.Problem, process.ErrUnreadable) || len(l.Segments) != 1 {
			t.Errorf("library whose file was cut off: %+v", l)
		}
	})
	t.Run("no permission", func(t *testing.T) {
		write()
		l := libraries(t, start(t, "hole", path).pid)["lib.so"]
		if l == nil || l.SONAME != "liar.so" || len(l.Segments) != 2 ||
			l.Segments[0].Perm.String() != "---p" {
			t.Errorf("library with PROT_NONE: %+v", l)
		}
	})
	t.Run("only read", func(t *testing.T) {
		write()
		if l := libraries(t, start(t, "view", path).pid)["lib.so"]; l != nil {
			t.Errorf("a file that is only read is taken for a library: %+v", l)
		}
	})
}

func TestReadAt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lib.so")
	image := forged.Library()
	if err := os.WriteFile(path, image, 0o755); err != nil {
		t.Fatal(err)
	}
	target := start(t, "view", path)
	m := memory(t, target.pid)
	b := make([]byte, len(image))
	if n, err := m.ReadAt(t.Context(), b, uint64(target.word)); n != len(b) || err != nil ||
		string(b) != string(image) {
		t.Errorf("ReadAt: %d bytes, %v", n, err)
	}
	for name, addr := range map[string]uint64{"unmapped": 0x1000, "highest": ^uint64(0) - 8,
		"kernel": 1 << 63} {
		if n, err := m.ReadAt(t.Context(), b, addr); n != 0 ||
			!errors.Is(err, process.ErrUnreadable) {
			t.Errorf("%s: %d bytes, %v, want ErrUnreadable", name, n, err)
		}
	}
	// A read over the end of a mapping says how much there was.
	var end uint64
	err := m.Mappings(t.Context(), func(x rtld.Mapping) bool {
		if end == 0 || x.Start == end {
			end = x.End
			return true
		}
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := m.ReadAt(t.Context(), b, end-100); n != 100 ||
		!errors.Is(err, process.ErrUnreadable) {
		t.Errorf("over the end: %d bytes, %v, want 100 and ErrUnreadable", n, err)
	}
	m.Close()
	m.Close()
	if _, err := m.ReadAt(t.Context(), b, end-100); !errors.Is(err, process.ErrClosed) {
		t.Errorf("after Close: %v, want ErrClosed", err)
	}
}

// Many mappings, up to as many as the kernel allows, cost bounded memory and time.
func TestManyMappings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lib.so")
	if err := os.WriteFile(path, forged.Library(), 0o755); err != nil {
		t.Fatal(err)
	}
	for n, tc := range map[string]struct {
		libraries int // 0: too many
		want      error
	}{"4000": {2000, nil}, "66000": {0, process.ErrLimit}} {
		t.Run(n, func(t *testing.T) {
			p := look(t, start(t, "many", path, n).pid)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			list, err := p.Libraries(t.Context())
			took := time.Since(begin)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, tc.want) || len(list) < tc.libraries || list != nil &&
				tc.libraries == 0 || took > 3*time.Second {
				t.Errorf("%d libraries after %v, %v, want %v", len(list), took, err, tc.want)
			}
			t.Logf("%d KiB, %v", (after.TotalAlloc-before.TotalAlloc)>>10, took)
			if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
				t.Errorf("%d KiB allocated", used>>10)
			}
		})
	}
	m := memory(t, start(t, "many", path, "66000").pid)
	count := 0
	err := m.Mappings(t.Context(), func(rtld.Mapping) bool { count++; return true })
	if limit := maxMapCount(t); err != nil || count < min(limit-100, 60_000) {
		t.Errorf("Mappings: %d, %v", count, err)
	}
}

// TestLongNames looks at a process with as many mappings as the kernel allows, of files whose names
// have nearly 4 KiB: they cost what they are needed for.
func TestLongNames(t *testing.T) {
	m := memory(t, start(t, "longnames", t.TempDir(), "65000").pid)
	for what, f := range map[string]func() (int, error){
		"Libraries": func() (int, error) {
			list, err := m.Libraries(t.Context())
			return len(list),
				err
		},
		"Mappings": func() (int, error) {
			var all []rtld.Mapping
			err := m.Mappings(t.Context(), func(l rtld.Mapping) bool {
				all = append(all, l)
				return true
			})
			return len(all), err
		},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		n, err := f()
		runtime.ReadMemStats(&after)
		most := uint64(4 << 20)
		if what == "Mappings" {
			most += 65_000 * (64 + 5*80) // what the test keeps, and its growing
		}
		used := after.TotalAlloc - before.TotalAlloc
		if t.Logf("%s: %d KiB", what, used>>10); err != nil || n == 0 || used > most {
			t.Errorf("%s: %d, %v; %d KiB allocated", what, n, err, used>>10)
		}
	}
}

// maxMapCount is the kernel's limit of mappings.
func maxMapCount(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/vm/max_map_count")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Code whose pages never come must not hold us up.
func TestSilentMemory(t *testing.T) {
	target := start(t, "silent")
	if target.word < 0 {
		t.Skip("userfaultfd, which needs CAP_SYS_PTRACE or vm.unprivileged_userfaultfd: ",
			unix.Errno(-target.word))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	list, err := look(t, target.pid).Libraries(ctx)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(l *rtld.Library) bool { return l.Path == "/memfd:silent" })
	if i < 0 || !errors.Is(list[i].Problem, process.ErrUnreadable) || !list[i].Deleted {
		t.Errorf("libraries: %+v", list)
	}
}

// A library from a file system that does not answer: who reads it hangs in the kernel. It costs its
// own time, not that of others, and its thread comes back with the end of the process.
func TestHangingFile(t *testing.T) {
	needRoot(t)
	hanging := start(t, "hanging")
	if hanging.word < 0 {
		t.Skip("no FUSE here: opening /dev/fuse, or its file system: ", unix.Errno(-hanging.word))
	}
	pids := []int{hanging.pid, start(t).pid, start(t).pid}
	results := make(map[int]error)
	var mu sync.Mutex
	o := process.ScanOptions{PIDs: pids, Workers: 1, Timeout: 300 * time.Millisecond}
	begin := time.Now()
	err := process.Scan(t.Context(), o, func(ctx context.Context, p *process.Process, err error) {
		if err == nil {
			_, err = p.Libraries(ctx)
		}
		mu.Lock()
		defer mu.Unlock()
		results[p.PID] = err
	})
	if took := time.Since(begin); err != nil || took > 2*time.Second {
		t.Errorf("Scan: %v after %v", err, took)
	}
	if !errors.Is(results[pids[0]], context.DeadlineExceeded) || results[pids[1]] != nil ||
		results[pids[2]] != nil || len(results) != 3 {
		t.Errorf("results: %v", results)
	}
	if process.Stuck() != 1 {
		t.Errorf("%d calls are stuck, want 1", process.Stuck())
	}
	hanging.stop()
	targettest.Await(t, "the call that was left behind", func() bool {
		return process.Stuck() == 0
	})
}

// proc may be mounted such that it hides the processes of others.
func TestHidePID(t *testing.T) {
	needRoot(t)
	target := start(t)
	for option, want := range map[string]error{"1": process.ErrPermission,
		"2": process.ErrPermission} { // hidden is not gone
		proc := mountProc(t, option)
		asNobody(t, func() error { return nil }, func() {
			p, err := process.Look(context.Background(), target.pid, process.Options{Root: proc})
			if !errors.Is(err, want) || p != nil {
				t.Errorf("hidepid=%s: %+v, %v, want %v", option, p, err, want)
			}
		})
	}
}

// mountProc mounts a proc with an option hidepid where nobody else sees it, and returns a path to
// it.
func mountProc(t *testing.T, hidepid string) string {
	t.Helper()
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		t.Skip("this kernel or container does not let us mount:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fs)
	if other, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC); err == nil { // never mounted
		defer unix.Close(other)
		if unix.FsconfigSetString(other, "subset", "pid") != nil {
			t.Skip("before Linux 5.8 the option would be set for all mounts of proc")
		}
	}
	if err := errors.Join(unix.FsconfigSetString(fs, "hidepid", hidepid),
		unix.FsconfigCreate(fs)); err != nil {
		t.Fatal(err)
	}
	root, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(root) })
	return "/proc/self/fd/" + strconv.Itoa(root)
}
