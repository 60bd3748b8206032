package native

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/arch/x86/x86asm"
	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// limited starts a process under limits.
func limited(t *testing.T, lib string, limits ...string) *child {
	t.Helper()
	program := gcc(t, "limited", "testdata/limited.c", lib, "-pthread", "-Wl,-rpath,"+
		filepath.Dir(lib))
	c := &child{Process: targettest.Start(t, exec.Command(program, limits...)), t: t}
	if _, err := fmt.Sscan(c.Line(), &c.pid); err != nil {
		t.Skipf("%q: the kernel does not let a process have these limits", limits)
	}
	return c
}

// TestWaysUnderLimits: each way to load, under each limit that could make one of its calls fail or
// raise a signal. The process is patched, or it is refused and the process is as it was; no signal
// comes. See the table in doc.go.
func TestWaysUnderLimits(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the limits are set by root")
	}
	lib := library(t, nopFlags)
	variables := placed(t, pack(t, lib, both, ulp.PackOptions{}, "testdata/patch.c"))
	constant := pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, source(t, "", "2"), "-nostdlib",
		"-Wl,-z,relro,-z,now")
	type row struct {
		limits                  string
		anonymous, memory, file error // nil: it is patched
	}
	rows := []row{
		{"", nil, nil, nil},
		{"data=0", unix.ENOMEM, unix.ENOMEM, unix.ENOMEM},
		{"as=1", unix.ENOMEM, unix.ENOMEM, unix.ENOMEM},
		{"maps=0", unix.ENOMEM, unix.ENOMEM, unix.ENOMEM},
		{"maps=1", unix.ENOMEM, unix.ENOMEM, unix.ENOMEM},
		{"stack=16384", nil, nil, nil},
		{"nofile=0", nil, unix.EMFILE, unix.EMFILE},
		{"memlock=4096", unix.EAGAIN, ErrRefused, ErrRefused},
		{"mdwe", nil, nil, nil},
		{"noexec=0", nil, nil, nil},
		{"noexec=1", nil, nil, nil},
		{"noexec=2", nil, nil, nil},
		{"chromium", nil, nil, nil},
		{"chromium busy", nil, nil, nil},
		{"mmap=log", nil, nil, nil},
		{"xom", nil, nil, nil},
		{"xom busy", nil, nil, nil},
	}
	for _, action := range []string{"kill", "thread", "trap", "errno", "notify", "trace"} {
		rows = append(rows, row{"mmap=" + action, ErrSeccomp, ErrSeccomp, ErrSeccomp})
	}
	for _, size := range []string{"fsize=0", "fsize=8192"} {
		for _, more := range []string{"", " busy", " handler", " busy handler"} {
			rows = append(rows, row{size + more, nil, ErrRefused, nil})
		}
	}
	for _, r := range rows {
		for way, want := range map[string]error{"anonymous": r.anonymous, "memfd": r.memory,
			"file": r.file} {
			for _, oneByOne := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/%v", r.limits, way, oneByOne), func(t *testing.T) {
					needed(t, r.limits, way)
					c := limited(t, lib, strings.Fields(r.limits)...)
					c.says("", "1")
					before := c.snapshot()
					o := Options{load: way, oneByOne: oneByOne}
					if want != nil {
						why := []error{want}
						if !errors.Is(want, ErrSeccomp) {
							why = append(why, ErrRefused)
						}
						c.refused(Change{Apply: []*Patch{variables}}, o, why...)
						c.says("", "1")
						if d := cmp.Diff(before, c.snapshot()); d != "" {
							t.Errorf("it is not as before: %s", d)
						}
						return
					}
					c.apply(o, variables)
					c.says("", "2")
					c.cleared(before)
					c.says("", "1")
				})
			}
		}
	}
	c := limited(t, lib, "data=0") // counts variables, of which this one has none
	c.apply(Options{}, constant)
	c.says("", "2")
}

// needed skips a test of a way to load under a limit where the machine does not permit what they
// take.
func needed(t *testing.T, limit, way string) {
	t.Helper()
	if way == "file" {
		targettest.NeedMappedFiles(t)
	}
	limit, _, _ = strings.Cut(limit, "=")
	switch limit {
	case "memlock": // as another user
		targettest.NeedOthers(t)
	case "noexec":
		targettest.NeedNamespaces(t, unix.CLONE_NEWPID)
	case "chromium", "chromium busy", "mmap":
		targettest.NeedFilters(t)
	}
}

// loads returns ways to load a live patch. Where the machine does not permit the one by the
// container's file, it is left out, and a subtest that is skipped has the reason.
func loads(t *testing.T, ways ...string) []string {
	t.Helper()
	t.Run("by file", func(t *testing.T) { targettest.NeedMappedFiles(t) })
	if targettest.MappedFiles() == nil {
		return ways
	}
	return slices.DeleteFunc(ways, func(way string) bool { return way == "file" })
}

// TestDetoursReadNoCode: no instruction of a detour has an operand in memory, which for
// execute-only code would be SIGSEGV.
func TestDetoursReadNoCode(t *testing.T) {
	const entry = 0x7f0000001000
	for _, stub := range []uint64{entry + 1<<20, entry - 1<<30, 0x100000000000} {
		for _, s := range []*site{
			{entry: entry, kind: kindNOPs, n: atLen},
			{entry: entry, kind: kindNOPs, n: atLen, landing: true},
			{entry: entry + pageSize - 1, kind: kindSplit, n: atLen},
			{entry: entry, kind: kindCode, n: nearLen},
		} {
			writes, err := s.detour(stub)
			if errors.Is(err, ErrNoRoom) && s.kind != kindNOPs {
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			for b := writes[0].data; len(b) > 0; {
				in, err := x86asm.Decode(b, 64)
				if err != nil {
					t.Fatalf("% x: %v", b, err)
				}
				for _, a := range in.Args {
					if _, memory := a.(x86asm.Mem); memory {
						t.Errorf("kind %d, to %#x: %v", s.kind, stub, in)
					}
				}
				b = b[in.Len:]
			}
			_, have := s.window(stub, true)
			if led, ok := s.led(have, stub); !led || !ok {
				t.Errorf("kind %d, to %#x: what was written is not known again", s.kind, stub)
			}
		}
	}
}

// TestOlderDetour: what an earlier version wrote is known again, and taken back.
func TestOlderDetour(t *testing.T) {
	s := &site{entry: 0x7f0000001000, kind: kindNOPs, n: atLen}
	copy(s.before[:], nops)
	copy(s.at[:], twoNOPs)
	at, have := s.window(0, false)
	for _, w := range s.overNOPs(oldNOPJump(0x7f0000100000)) {
		copy(have[w.addr-at:], w.data)
	}
	if led, ok := s.led(have, 0x7f0000100000); !led || !ok {
		t.Error("not known again")
	}
	if led, ok := s.led(have, 0x7f0000100040); led || ok {
		t.Error("it leads elsewhere")
	}
}

// TestKeptAtLimit: memory that the kernel does not take back, since what remains would be one
// mapping more than there may be, stays until a later change.
func TestKeptAtLimit(t *testing.T) {
	lib := library(t, nopFlags)
	first := pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, source(t, "", "2"), "-nostdlib",
		"-Wl,-z,relro,-z,now")
	second := pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, source(t, "", "3"), "-nostdlib",
		"-Wl,-z,relro,-z,now")
	c := limited(t, lib)
	c.says("", "1")
	before := c.snapshot()
	c.apply(Options{}, first, second)
	c.says("fill", "3")
	c.revertOnly(first)
	c.says("", "3")
	if list := c.list(); len(list) != 2 || list[0].Active == list[1].Active {
		t.Errorf("%+v", list)
	}
	c.says("drain", "3")
	c.change(Change{}, Options{})
	if list := c.list(); len(list) != 1 || !list[0].Active {
		t.Errorf("%+v", list)
	}
	c.cleared(before)
	c.says("", "1")
}

// TestFullGroup: in a memory control group that is full of what can be dropped, a process is
// patched in each way, and lives.
func TestFullGroup(t *testing.T) {
	lib := library(t, nopFlags)
	big := filepath.Join(t.TempDir(), "big.c") // more than what the kernel has in stock for a group
	if err := os.WriteFile(big, []byte("__attribute__((used)) static char big[1 << 20] = {[0 ... "+
		"(1 << 20) - 1] = 1};"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := placed(t, pack(t, lib, both, ulp.PackOptions{}, "testdata/patch.c", big))
	program := gcc(t, "limited", "testdata/limited.c", lib, "-pthread", "-Wl,-rpath,"+
		filepath.Dir(lib))
	for _, way := range []string{"anonymous", "memfd", "file"} {
		t.Run(way, func(t *testing.T) {
			needed(t, "", way)
			g := newMemoryGroup(t)
			fill := fmt.Sprintf("echo $$ > %s/cgroup.procs && dd if=/dev/zero of=%s bs=1M "+
				"count=32 conv=fsync 2>/dev/null && exec %s",
				g.dir, filepath.Join(t.TempDir(), "cache"), program)
			c := &child{Process: targettest.Start(t, exec.Command("sh", "-c", fill)), t: t}
			if _, err := fmt.Sscan(c.Line(), &c.pid); err != nil {
				t.Fatal(err)
			}
			c.says("", "1")
			before := c.snapshot()
			g.close(t)
			hits := g.hits(t)
			c.apply(Options{load: way}, p)
			if g.hits(t) == hits {
				t.Error("the group was not full")
			}
			c.says("", "2")
			c.cleared(before)
			c.says("", "1")
		})
	}
}

// memoryGroup is a memory control group of version 1 or 2.
type memoryGroup struct{ dir, usage, limit, events string }

func newMemoryGroup(t *testing.T) *memoryGroup {
	t.Helper()
	var g *memoryGroup
	for _, root := range []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup"} {
		dir := filepath.Join(root, fmt.Sprintf("lpbuild-test-%d", os.Getpid()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		g = &memoryGroup{dir, "memory.current", "memory.max", "memory.events"}
		if _, err := os.Stat(filepath.Join(dir, "memory.failcnt")); err == nil {
			g = &memoryGroup{dir, "memory.usage_in_bytes", "memory.limit_in_bytes",
				"memory.failcnt"}
		}
		t.Cleanup(func() { // once its processes are gone
			for deadline := time.Now().Add(5 * time.Second); os.Remove(dir) != nil; time.Sleep(
				10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Errorf("%s stays", dir)
					return
				}
			}
		})
		if _, err := os.Stat(filepath.Join(dir, g.usage)); err == nil {
			return g
		}
	}
	t.Skip("no memory control group can be made here")
	return nil
}

// read returns the text of a file of the group.
func (g *memoryGroup) read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(g.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// hits is a text that changes whenever the group meets its limit.
func (g *memoryGroup) hits(t *testing.T) string { return g.read(t, g.events) }

// close makes the limit what is in use.
func (g *memoryGroup) close(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, g.limit), []byte(g.read(t, g.usage)),
		0); err != nil {
		t.Fatal(err)
	}
}
