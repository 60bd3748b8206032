package native

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

var builds targettest.Builds

func TestMain(m *testing.M) {
	if job := os.Getenv("NATIVE_TEST_ENGINE"); job != "" {
		os.Exit(engine(job))
	}
	os.Exit(builds.Run(m))
}

// gcc compiles sources of testdata, once for the same arguments, and returns the path of the
// result.
func gcc(t testing.TB, name string, args ...string) string {
	t.Helper()
	return builds.GCC(t, name, args...)
}

// nopFlags make room for detours.
const nopFlags = "-fpatchable-function-entry=16,14"

// library compiles the library that is patched, with NOPs unless flags say otherwise.
func library(t testing.TB, flags ...string) string {
	t.Helper()
	return gcc(t, "libtarget.so",
		append([]string{"-shared", "-fPIC", "-Wl,--build-id", "-Wl,-soname,libtarget.so",
			"testdata/library.c"}, flags...)...)
}

// target compiles the program, linked with a library.
func target(t testing.TB, lib string, flags ...string) string {
	t.Helper()
	return gcc(t, "target",
		append([]string{"testdata/target.c", lib, "-pthread", "-Wl,-rpath," + filepath.Dir(lib)},
			flags...)...)
}

// spinner compiles a process of one thread that looks at the clock all the time.
func spinner(t testing.TB, lib string) string {
	t.Helper()
	return gcc(t, "spinner", "testdata/spinner.c", lib, "-Wl,-rpath,"+filepath.Dir(lib))
}

// everything is a description of all that testdata/patch.c replaces.
const everything = "first:first_lp\nsecond:second_lp\nreads_secret:reads_secret_lp\n" +
	"reads_mine:reads_mine_lp\ntext:text_lp\n" +
	"blocks:blocks_lp\ncalls:calls_lp\ndeep:deep_lp\n#secret:ulpr_secret\n#%mine:ulpr_mine\n"

// pack compiles a live patch and packs it for a library.
func pack(t testing.TB, lib, lines string, o ulp.PackOptions, args ...string) *Patch {
	t.Helper()
	image, err := os.ReadFile(
		gcc(t, "patch.so", append([]string{"-shared", "-fPIC", "-Wl,--build-id"}, args...)...))
	if err != nil {
		t.Fatal(err)
	}
	p, err := packImage(t, image, lib, lines, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func packImage(t testing.TB, image []byte, lib, lines string, o ulp.PackOptions) (*Patch, error) {
	t.Helper()
	packed, err := targettest.PackImage(image, "patch.so", lib, o, lines)
	if err != nil {
		t.Fatal(err)
	}
	return openPatch(packed)
}

func openPatch(packed []byte) (*Patch, error) {
	c, err := ulp.ParseContainer(packed)
	if err != nil {
		return nil, err
	}
	p, err := NewPatch(c, "patch.so")
	if err == nil {
		images.Store(p, packed)
	}
	return p, err
}

var images sync.Map // of []byte, the packed containers of patches

// file writes a live patch into a file, for an engine in a process of its own.
func file(t testing.TB, p *Patch) string {
	t.Helper()
	image, _ := images.Load(p)
	path := filepath.Join(t.TempDir(), "patch.so")
	if err := os.WriteFile(path, image.([]byte), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// child is a running target.
type child struct {
	*targettest.Process
	t    testing.TB
	pid  int
	page []byte // shared with it
	n    int    // threads that hammer
}

// start starts a target with threads that hammer. It is killed at the end of the test; nobody waits
// for it before: a wait would take the tracer's stops.
func start(t testing.TB, path string, threads int, env ...string) *child {
	t.Helper()
	return startBy(t, nil, path, threads, env...)
}

// startBy is start with a command before the program, such as a dynamic loader.
func startBy(t testing.TB, by []string, path string, threads int, env ...string) *child {
	t.Helper()
	file := filepath.Join(t.TempDir(), "page")
	if err := os.WriteFile(file, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append(slices.Clone(by), path, file, strconv.Itoa(threads))
	cmd := exec.Command(args[0], args[1:]...)
	// its mappings shall stay as they are
	cmd.Env = append(append(os.Environ(), "MALLOC_ARENA_MAX=1"), env...)
	c := &child{Process: targettest.Start(t, cmd), t: t, pid: cmd.Process.Pid, n: threads}
	if got := c.Line(); got != "ready" {
		t.Fatalf("%s: %q instead of ready", path, got)
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if c.page, err = unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(c.page) })
	return c
}

// says fails the test unless the answer is as expected.
func (c *child) says(line, want string) {
	c.t.Helper()
	c.Answers(line, want)
}

// expect tells the hammering threads what functions have to return from now on; 0: they may change.
func (c *child) expect(v uint64) { binary.NativeEndian.PutUint64(c.page, v) }

// right fails the test if a thread saw a wrong result, and waits until all have gone on.
func (c *child) right() {
	c.t.Helper()
	if wrong := binary.NativeEndian.Uint64(c.page[8:]); wrong != 0 {
		c.t.Fatalf("%d wrong results", wrong)
	}
	count := func(i int) uint64 { return binary.NativeEndian.Uint64(c.page[16+8*i:]) }
	var before [512]uint64
	for i := range c.n {
		before[i] = count(i)
	}
	deadline := time.Now().Add(30 * time.Second)
	for i := range c.n {
		for ; count(i) < before[i]+2; time.Sleep(50 * time.Microsecond) {
			if time.Now().After(deadline) {
				c.t.Fatalf("thread %d stands still\n%s", i, c.threads())
			}
		}
	}
}

// threads describes the threads of a process: what they do and where they stand.
func (c *child) threads() string {
	var b strings.Builder
	list, err := look(c.t, c.pid).ThreadList(context.Background())
	if err != nil {
		return err.Error()
	}
	for _, th := range list {
		dir := fmt.Sprintf("/proc/%d/task/%d/", c.pid, th.TID)
		at, _ := os.ReadFile(dir + "syscall")
		stat, _ := os.ReadFile(dir + "schedstat")
		fmt.Fprintf(&b, "%d %v %s %s\n", th.TID, th.State, strings.TrimSpace(string(at)),
			strings.TrimSpace(string(stat)))
	}
	return b.String()
}

const (
	original = "1 1 5 7 original"
	patched  = "2 2 105 107 patched"
)

func look(t testing.TB, pid int) *process.Process {
	t.Helper()
	p, err := process.Look(context.Background(), pid, process.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// change carries a change out or fails the test. Threads have time to stop, unless the test says
// how much: the machine may be busy.
func (c *child) change(ch Change, o Options) Result {
	c.t.Helper()
	if o.StopTimeout == 0 {
		o.StopTimeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	res, err := do(ctx, look(c.t, c.pid), ch, o)
	if err != nil {
		c.t.Fatal(err)
	}
	return res
}

func (c *child) apply(o Options, p ...*Patch) Result {
	c.t.Helper()
	return c.change(Change{Apply: p}, o)
}

func everyOne(AppliedPatch) bool { return true }

func (c *child) revert() Result {
	c.t.Helper()
	return c.change(Change{Revert: everyOne}, Options{})
}

func (c *child) list() []AppliedPatch {
	c.t.Helper()
	list, err := List(context.Background(), look(c.t, c.pid))
	if err != nil {
		c.t.Fatal(err)
	}
	return list
}

// snapshot is what of a process must be as before: mappings, open files, and the contents of what
// is not writable. How far the first thread's stack has grown is no part of it.
func (c *child) snapshot() string {
	c.t.Helper()
	var b strings.Builder
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", c.pid))
	if err != nil {
		c.t.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", c.pid))
	if err != nil {
		c.t.Fatal(err)
	}
	defer mem.Close()
	for line := range strings.Lines(string(maps)) {
		_, end, _ := strings.Cut(line, "-")
		b.WriteString(map[bool]string{true: end, false: line}[strings.Contains(line, "[stack]")])
		var from, to uint64
		var perm string
		fmt.Sscanf(line, "%x-%x %s", &from, &to, &perm)
		if strings.HasPrefix(perm, "r-") && !strings.Contains(line, "[v") {
			data := make([]byte, to-from)
			if _, err := mem.ReadAt(data, int64(from)); err == nil {
				fmt.Fprintf(&b, "%x\n", fnv(data))
			}
		}
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.pid))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range files {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", c.pid, f.Name()))
		fmt.Fprintln(&b, f.Name(), to)
	}
	return b.String()
}

// poke writes into a process.
func (c *child) poke(addr uint64, b []byte) {
	c.t.Helper()
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", c.pid), os.O_RDWR, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, int64(addr)); err != nil {
		c.t.Fatal(err)
	}
}

func fnv(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

func itoa(n int) string { return strconv.Itoa(n) }

// opened returns a view of a process that stays open until the test ends.
func opened(t *testing.T, pid int) *view {
	t.Helper()
	p := look(t, pid)
	m, err := p.Memory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	libs, err := m.Libraries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v, err := newView(t.Context(), nil, p, m, libs)
	if err != nil {
		t.Fatal(err)
	}
	return v.v
}
