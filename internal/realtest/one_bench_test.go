package realtest

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/benchtest"
	"github.com/lpbuild/lpbuild/internal/targettest"
)

// BenchmarkOneProcess is what one process costs that has no live patch yet: how long lpbuild takes,
// how much CPU time, and by how much the private memory of the process grows. The process never
// rests; "gap" is the longest time in which it does not get on meanwhile, where lpbuild has another
// CPU ("apart") and where both have to share one. "floor" is all that with lpbuild --version: a
// program of that size which does nothing.
func BenchmarkOneProcess(b *testing.B) {
	if os.Getenv(inside) == "" {
		b.Skip("needs root, and a libc as Debian has it")
	}
	program := filepath.Join(b.TempDir(), "spinner")
	if err := targettest.Compile(b.Context(), program, "testdata/spinner.c"); err != nil {
		b.Fatal(err)
	}
	list := cpus(b)
	if len(list) > 1 {
		b.Run("apart", func(b *testing.B) { benchOneProcess(b, program, list[0], list[1]) })
	}
	b.Run("shared", func(b *testing.B) { benchOneProcess(b, program, list[0], list[0]) })
}

func benchOneProcess(b *testing.B, program, cpu, ours string) {
	took := map[string][]float64{}
	for range benchtest.Size(50, 3) {
		s := startSpinner(b, program, cpu)
		pid := strconv.Itoa(s.PID)
		s.measure(took, ours, "floor", "--version")
		before := privateDirty(b, s.PID)
		s.measure(took, ours, "trigger", "trigger", "-p", pid, container())
		took["trigger-KiB"] = append(took["trigger-KiB"], privateDirty(b, s.PID)-before)
		s.measure(took, ours, "revert", "revert", "-p", pid, container())
		s.Kill()
	}
	median := map[string]float64{}
	for name, list := range took {
		slices.Sort(list)
		median[name] = list[len(list)/2]
		b.ReportMetric(median[name], name)
	}
	for _, verb := range []string{"trigger", "revert"} {
		b.ReportMetric(median[verb+"-gap-ms"]/median["floor-gap-ms"], verb+"-gap/floor")
	}
	b.ReportMetric(0, "ns/op")
}

// spinner is a process that never rests, on one CPU.
type spinner struct {
	*targettest.Process
	b    *testing.B
	page []byte // shared with it
}

func startSpinner(b *testing.B, program, cpu string) *spinner {
	b.Helper()
	file := filepath.Join(b.TempDir(), "page")
	if err := os.WriteFile(file, make([]byte, 4096), 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = unix.Munmap(page) })
	s := &spinner{targettest.Start(b, exec.Command("taskset", "-c", cpu, program, file)), b, page}
	s.Line()
	return s
}

// measure runs lpbuild on a CPU.
func (s *spinner) measure(took map[string][]float64, on, name string, args ...string) {
	s.b.Helper()
	cmd := exec.Command("taskset", append([]string{"-c", on, lpbuild()}, args...)...)
	binary.NativeEndian.PutUint64(s.page, 0)
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		s.b.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	wall := time.Since(began)
	time.Sleep(5 * time.Millisecond) // until the spinner has noted the last gap
	gap := time.Duration(binary.NativeEndian.Uint64(s.page))
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	for what, d := range map[string]time.Duration{"wall": wall, "cpu": used, "gap": gap} {
		took[name+"-"+what+"-ms"] = append(took[name+"-"+what+"-ms"],
			float64(d.Microseconds())/1000)
	}
}

// cpus returns the numbers of the CPUs that this process may use.
func cpus(b *testing.B) (list []string) {
	b.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		b.Fatal(err)
	}
	for n := range 1024 {
		if set.IsSet(n) {
			list = append(list, strconv.Itoa(n))
		}
	}
	return list
}

var dirty = regexp.MustCompile(`(?m)^Private_Dirty:\s+(\d+) kB$`)

// privateDirty returns how many KiB a process has changed or made, and has for itself.
func privateDirty(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	m := dirty.FindSubmatch(text)
	if err != nil || m == nil {
		b.Fatalf("%v: %s", err, text)
	}
	kib, _ := strconv.Atoi(string(m[1]))
	return float64(kib)
}
