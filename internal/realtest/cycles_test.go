package realtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/native"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// cycles is how often each program is patched and put back.
const cycles = 30

// TestReal patches and reverts real programs under load: every answer is right, what they store
// adds up, no process ends, the patched functions are in use while they are patched, and afterwards
// the programs are as they were.
func TestReal(t *testing.T) {
	if os.Getenv(inside) == "" {
		t.Skip("patches nginx, Redis, PostgreSQL and others: run \"make test-real\"")
	}
	for i, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			s := p.start(t, 20_000+i)
			pid := s.cmd.Process.Pid
			own := family(t, pid)
			list := s.connect(t)
			l := begin(list, 0, 0)
			l.more(t, 2000)
			base := l.stop(t)
			own = slices.DeleteFunc(own, func(p int) bool {
				return !slices.Contains(family(t, pid), p)
			}) // which helped it to start

			l = begin(list, 0, len(base))
			more := func() { l.more(t, 20) }
			stops := cycle(t, pid, cycles, p.uses, func() []int { return family(t, pid) }, more)
			cycled := l.stop(t)
			for _, c := range list {
				c.close()
			}
			s.verify(t, int64(len(base)+len(cycled)))
			if now := family(t, pid); slices.ContainsFunc(own, func(p int) bool {
				return !slices.Contains(now, p)
			}) {
				t.Errorf("of the processes %d only %d are left", own, now)
			}
			t.Logf("undisturbed: %v", base)
			t.Logf("%d cycles: %v; p99.9 is %.1f times as long", cycles, cycled,
				float64(cycled.at(999))/float64(base.at(999)))
			t.Logf("stops: %v", stops)
		})
	}
}

// cycle applies and reverts the live patch n times in a server and all that descend from it, and
// returns how long processes was stopped. While it is applied, the processes that callers returns
// together call each of the functions that are named in uses; more waits until the server has done
// some more work.
func cycle(t testing.TB, pid, n int, uses []string, callers func() []int, more func(),
	options ...string) latencies {
	t.Helper()
	before := entries(t, pid)
	var stops latencies
	for range n {
		stops = append(stops, change(t, pid, "trigger", options...)...)
		all(t, pid, true)
		inEffect(t, callers, uses)
		more()
		stops = append(stops, change(t, pid, "revert", options...)...)
		if !bytes.Equal(before, entries(t, pid)) {
			t.Fatal("after the live patch was reverted, the functions' entries are not as they " +
				"were")
		}
		all(t, pid, false)
		more()
	}
	slices.Sort(stops)
	return stops
}

// all fails the test unless the live patch is in effect in all of a server's processes, or in none.
func all(t testing.TB, pid int, want bool) {
	t.Helper()
	for _, p := range family(t, pid) {
		if _, active := counts(t, p); active != want && !ended(p) {
			t.Fatalf("process %d has the live patch: %v, want %v", p, active, want)
		}
	}
}

// change has lpbuild apply or revert the live patch in all processes that there are. It fails the
// test unless that is done in the process, and fails in none. It returns how long processes stood
// still.
func change(t testing.TB, pid int, verb string, options ...string) latencies {
	t.Helper()
	cmd := command(context.Background(), append([]string{lpbuild(), verb, "--json", container()},
		options...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	var report struct {
		Processes []struct {
			PID    int    `json:"pid"`
			Status string `json:"status"`
			Stop   int64  `json:"stop_us"`
		} `json:"processes"`
	}
	if err != nil || json.Unmarshal(out, &report) != nil {
		t.Fatalf("lpbuild %s: %v\n%s", verb, err, out)
	}
	var stops latencies
	done := false
	for _, p := range report.Processes {
		done = done || p.PID == pid && p.Status == "done"
		if p.Status == "done" {
			stops = append(stops, time.Duration(p.Stop)*time.Microsecond)
		}
	}
	if !done {
		t.Fatalf("lpbuild %s did not do it in process %d:\n%s", verb, pid, out)
	}
	return stops
}

// inEffect waits until each of the functions was called in its new version by the processes
// together.
func inEffect(t testing.TB, callers func() []int, uses []string) {
	t.Helper()
	await(t, fmt.Sprintf("calls of the replacements of %q", uses), func() bool {
		sum := make([]uint64, len(functions))
		for _, p := range callers() {
			list, _ := counts(t, p)
			for i, n := range list {
				sum[i] += n
			}
		}
		return !slices.ContainsFunc(uses, func(f string) bool {
			return sum[slices.Index(functions, f)] == 0
		})
	})
}

// counts reads from outside how often each replacement was called in a process. active tells
// whether there is a live patch in effect. A process that has ended has none.
func counts(t testing.TB, pid int) (list []uint64, active bool) {
	t.Helper()
	p, err := process.Look(t.Context(), pid, process.Options{})
	if err != nil {
		return nil, false
	}
	applied, err := native.List(t.Context(), p)
	if err != nil {
		if slices.Contains(family(t, pid), pid) && !ended(pid) {
			t.Fatal(err)
		}
		return nil, false
	}
	i := slices.IndexFunc(applied, func(a native.AppliedPatch) bool { return a.Active })
	if i < 0 {
		return nil, false
	}
	memory := make([]byte, applied[i].Size)
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil, true
	}
	defer f.Close()
	_, _ = f.ReadAt(memory, int64(applied[i].Base))
	_, after, found := bytes.Cut(memory, []byte("realtest-counts\x00"))
	if !found {
		if !ended(pid) {
			t.Fatalf("process %d has a live patch without counts", pid)
		}
		return nil, true
	}
	for i := range functions {
		list = append(list, binary.LittleEndian.Uint64(after[8*i:]))
	}
	return list, true
}

// ended tells whether a process has ended or is about to: its memory is gone.
func ended(pid int) bool {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	return err != nil || len(maps) == 0
}

// entries returns the first bytes of the functions in a process, and those before them.
func entries(t testing.TB, pid int) []byte {
	t.Helper()
	lib, err := symtab.OpenLibrary(libcPath, symtab.LibraryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := process.Look(t.Context(), pid, process.Options{})
	if err != nil {
		t.Fatal(err)
	}
	libs, err := p.Libraries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(libs, func(l *rtld.Library) bool {
		return bytes.Equal(l.BuildID, lib.BuildID)
	})
	if i < 0 {
		t.Fatalf("process %d does not have %s", pid, libcPath)
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := make([]byte, 48*len(functions))
	for n, name := range functions {
		s, _ := lib.Function(name)
		if _, err := f.ReadAt(all[48*n:][:48], int64(libs[i].Bias+s.Value-16)); err != nil {
			t.Fatal(err)
		}
	}
	return all
}
