package tracer

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

var builds targettest.Builds

func TestMain(m *testing.M) {
	if job := os.Getenv("TRACER_TEST_ENGINE"); job != "" {
		os.Exit(engine(job))
	}
	os.Exit(builds.Run(m))
}

// program compiles testdata/NAME.c, once per name and flags.
func program(t testing.TB, name string, flags ...string) string {
	t.Helper()
	return builds.GCC(t, name, append([]string{"-pthread", filepath.Join("testdata", name+".c")},
		flags...)...)
}

// child is a running test program.
type child struct {
	*targettest.Process
	t   testing.TB
	pid int
}

// start starts a program that writes a line when it is ready. It is killed at the end of the test.
// Nobody waits for it before: a wait would take the tracer's stops.
func start(t testing.TB, path string, args ...string) *child {
	t.Helper()
	return run(t, exec.Command(path, args...))
}

func run(t testing.TB, cmd *exec.Cmd) *child {
	t.Helper()
	c := &child{targettest.Start(t, cmd), t, cmd.Process.Pid}
	if got := c.Line(); got != "ready" {
		t.Fatalf("%s: %q instead of ready", cmd, got)
	}
	return c
}

// stat returns the letter of a thread's state and its process's tracer.
func stat(t testing.TB, pid, tid int) (state string, tracer int) {
	t.Helper()
	m := map[string]string{"State": "", "TracerPid": ""}
	if err := taskStatus(pid, tid, m); err != nil {
		t.Fatal(err)
	}
	tracer, _ = strconv.Atoi(m["TracerPid"])
	return m["State"][:1], tracer
}

// checker is a child that checks all its registers, and counts.
type checker struct {
	*child
	threads                             int
	counters                            []byte // mapped
	sum, fault, stall, trapped, replace uint64 // functions
	what                                string // is done to it, for messages
}

// startChecker starts check.c with this CPU's widest registers.
func startChecker(t testing.TB, threads int, extra ...string) *checker {
	t.Helper()
	return startCheckerAs(t, threads, func(*exec.Cmd) {}, nil, extra...)
}

// startCheckerAs starts it in some other way than usual.
func startCheckerAs(t testing.TB, threads int, as func(*exec.Cmd), more []string,
	extra ...string) *checker {
	t.Helper()
	path := filepath.Join(t.TempDir(), "counters")
	if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := []string{"-mavx2"}
	if b, _ := os.ReadFile("/proc/cpuinfo"); bytes.Contains(b, []byte("avx512bw")) {
		flags = []string{"-mavx512f", "-mavx512bw"}
	}
	args := append([]string{path, strconv.Itoa(threads)}, extra...)
	cmd := exec.Command(program(t, "check", append(flags, more...)...), args...)
	as(cmd)
	c := &checker{child: run(t, cmd), threads: threads}
	if _, err := fmt.Sscan(c.Line(), &c.sum, &c.fault, &c.stall, &c.trapped,
		&c.replace); err != nil {
		t.Fatal(err)
	}
	c.readCounters(path)
	c.goesOn() // a thread that has not begun yet blocks all signals
	return c
}

// readCounters maps the file that the child counts in.
func (c *checker) readCounters(path string) {
	c.t.Helper()
	f, err := os.Open(path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	if c.counters, err = unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ,
		unix.MAP_SHARED); err != nil {
		c.t.Fatal(err)
	}
}

// count is how far thread n has counted.
func (c *checker) count(n int) uint64 { return binary.NativeEndian.Uint64(c.counters[8*n:]) }

// goesOn fails the test unless every thread goes on counting, untraced.
func (c *checker) goesOn() {
	c.t.Helper()
	var before [512]uint64
	for n := range c.threads {
		before[n] = c.count(n)
	}
	deadline := time.Now().Add(10 * time.Second)
	for n := range c.threads {
		for c.count(n) < before[n]+2 {
			time.Sleep(200 * time.Microsecond)
			if time.Now().After(deadline) {
				state, tracer := stat(c.t, c.pid, c.pid)
				var status unix.WaitStatus
				_, _ = unix.Wait4(c.pid, &status, unix.WNOHANG, nil)
				c.t.Fatalf("%sthread %d stands at %d; state %s, tracer %d, exited %v with %d, by "+
					"%v", c.what, n, before[n], state, tracer,
					status.Exited(), status.ExitStatus(), status.Signal())
			}
		}
	}
	tids, err := tasks(c.pid)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, tid := range tids {
		if state, tracer := stat(c.t, c.pid, tid); tracer != 0 || strings.Contains("tTZX", state) {
			c.t.Errorf("thread %d: state %s, tracer %d", tid, state, tracer)
		}
	}
}

// gadgets finds the instructions in a child's libraries.
func gadgets(t testing.TB, pid int) Gadgets {
	t.Helper()
	g, err := findGadgetsOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// findGadgetsOf asks the first thread, and if that has ended (just now, maybe), another one.
func findGadgetsOf(pid int) (Gadgets, error) {
	g, err := gadgetsOfThread(pid, pid)
	if err == nil {
		return g, nil
	}
	tids, err := tasks(pid)
	if err != nil {
		return Gadgets{}, err
	}
	return gadgetsOfThread(pid, slices.Max(tids))
}

func gadgetsOfThread(pid, tid int) (Gadgets, error) {
	maps, err := os.ReadFile(taskPath(pid, tid, "maps"))
	if err != nil {
		return Gadgets{}, err
	}
	var ranges []Range
	for line := range strings.Lines(string(maps)) {
		var r Range
		var perm string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &r.Start, &r.End, &perm); err == nil &&
			perm == "r-xp" {
			if strings.Contains(line, "libc") { // where they are, unless the program is static
				ranges = slices.Insert(ranges, 0, r)
			} else {
				ranges = append(ranges, r)
			}
		}
	}
	f, err := os.Open(taskPath(pid, tid, "mem"))
	if err != nil {
		return Gadgets{}, err
	}
	defer f.Close()
	return FindGadgets(f, ranges)
}

// tryAttach stops all threads of a process, as Run does, for tests that look at what stands. Every
// Tracee must be given to Detach; after an error nothing is attached.
func tryAttach(ctx context.Context, pid int, o Options) (*Tracee, error) {
	if !supported {
		return nil, errArch(pid)
	}
	t := newTracee(pid, o)
	done := make(chan error, 1)
	t.w.jobs <- func() { done <- t.attach(ctx) }
	if err := t.doneOrLate(ctx, done); err != nil {
		if t.phase.Load() == phaseLeft {
			t.w.end(false)
		} else {
			t.w.rest(t.left > 0)
		}
		return nil, err
	}
	return t, nil
}

// attach attaches to a process or fails the test; it is detached at the latest at the end of the
// test.
func attach(t testing.TB, pid int, o Options) *Tracee {
	t.Helper()
	tr, err := tryAttach(context.Background(), pid, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Detach() })
	return tr
}

func detach(t testing.TB, tr *Tracee) {
	t.Helper()
	if err := tr.Detach(); err != nil {
		t.Error(err)
	}
}

// tasks lists the threads of a process.
func tasks(pid int) ([]int, error) {
	d, err := procfs.Open(procfs.Root, pid)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	tids, _, err := (&Tracee{dir: d}).tasks()
	return tids, err
}

func taskPath(pid, tid int, file string) string {
	return fmt.Sprintf("/proc/%d/%s", pid, procfs.TaskFile(tid, file))
}

func taskStatus(pid, tid int, fields map[string]string) error {
	text, err := os.ReadFile(taskPath(pid, tid, "status"))
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		if _, wanted := fields[name]; wanted {
			fields[name] = strings.TrimSpace(value)
		}
	}
	return err
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
