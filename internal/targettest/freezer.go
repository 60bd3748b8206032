package targettest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Freezer is a control group of its own, whose processes can be frozen.
type Freezer struct {
	Name string // of the file that freezes

	dir, on, off, state, frozen string
	t                           testing.TB
}

// Freezers makes one of each kind that this machine has: of cgroup v2 and v1. Without any, the test
// is skipped.
func Freezers(t testing.TB) []*Freezer {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var list []*Freezer
	for line := range strings.Lines(string(mounts)) {
		mount, kind, _ := strings.Cut(strings.TrimSpace(line), " - ")
		f := &Freezer{Name: "cgroup.freeze", on: "1", off: "0", state: "cgroup.events",
			frozen: "frozen 1", t: t}
		switch kind := strings.Fields(kind); {
		case kind[0] == "cgroup2":
		case kind[0] == "cgroup" && strings.Contains(kind[len(kind)-1], "freezer"):
			f = &Freezer{Name: "freezer.state", on: "FROZEN", off: "THAWED", state: "freezer.state",
				frozen: "FROZEN", t: t}
		default:
			continue
		}
		f.dir = filepath.Join(strings.Fields(mount)[4], fmt.Sprintf("lpbuild-test-%d-%s",
			os.Getpid(), filepath.Base(t.Name())))
		if os.Mkdir(f.dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() {
			Await(t, "the control group to be empty", func() bool {
				return os.Remove(f.dir) == nil
			})
		})
		if _, err := os.Stat(filepath.Join(f.dir, f.Name)); err == nil {
			list = append(list, f)
		}
	}
	if len(list) == 0 {
		t.Skip("no control group can be made here that freezes: that needs root, and a cgroup " +
			"file system that is writable")
	}
	return list
}

// Add puts a process into the group, which is thawed when it is killed at the end of the test.
func (f *Freezer) Add(pid int) {
	f.t.Helper()
	f.write("cgroup.procs", strconv.Itoa(pid))
	f.t.Cleanup(f.Thaw)
}

// Freeze freezes the processes, or begins to.
func (f *Freezer) Freeze() { f.t.Helper(); f.write(f.Name, f.on) }

// Thaw lets them run.
func (f *Freezer) Thaw() { f.t.Helper(); f.write(f.Name, f.off) }

// Frozen waits until all of them are frozen.
func (f *Freezer) Frozen() {
	f.t.Helper()
	Await(f.t, "the processes to be frozen", func() bool {
		b, err := os.ReadFile(filepath.Join(f.dir, f.state))
		return err == nil && strings.Contains(string(b), f.frozen)
	})
}

func (f *Freezer) write(file, text string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, file), []byte(text), 0); err != nil {
		f.t.Fatal(err)
	}
}
