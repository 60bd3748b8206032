package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

func TestParseSelector(t *testing.T) {
	for in, pid := range map[string]int{"": 0, "17": 17, "nginx": 0, "ng*": 0, "017": 17} {
		s, err := engine.ParseSelector(in, "")
		if err != nil || s.PID != pid || (s.Name == nil) != (pid != 0 || in == "") {
			t.Errorf("%q: %+v, %v", in, s, err)
		}
	}
	for _, in := range []string{"0", "-5", "-0", "99999999999999999999"} {
		if _, err := engine.ParseSelector(in, ""); !errors.Is(err, engine.ErrNoProcess) {
			t.Errorf("%q: %v", in, err)
		}
	}
	for _, in := range []string{"root", "0", "r*", "12345"} {
		if s, err := engine.ParseSelector("", in); err != nil || s.User == nil {
			t.Errorf("user %q: %v", in, err)
		}
	}
	if _, err := engine.ParseSelector("", "no-such-user"); !errors.Is(err, engine.ErrNoUser) {
		t.Errorf("a user who does not exist: %v", err)
	}
}

// TestSelect selects by names that the kernel cuts off, by hostile names, and by user.
func TestSelect(t *testing.T) {
	long := start(t, "a", "", "a-name-of-more-than-fifteen-bytes")
	hostile := start(t, "a", "", "evil\x1b[31m\nname")
	me, err := user.Current()
	must(t, err)
	e := &fakeEngine{name: "fake"}
	another := "nobody"
	if me.Username == another {
		another = "root"
	}
	for _, tc := range []struct {
		name, user string
		want       []int
	}{
		{"a-name-of-more*", "", []int{long.pid}}, {"a-name-of-more-than-fifteen-bytes", "",
			[]int{long.pid}}, {"a-name-of-more-", "", []int{long.pid}},
		{"a-name-of-more-than-fifteen-bits", "", nil}, {"evil*name", "", []int{hostile.pid}},
		{"evil", "", nil},
		{"evil*", me.Username, []int{hostile.pid}}, {"evil*", me.Uid, []int{hostile.pid}},
		{"evil*", "?*", []int{hostile.pid}},
		{"evil*", "54321", nil}, {"evil*", another, nil},
	} {
		s, err := engine.ParseSelector(tc.name, tc.user)
		must(t, err)
		reports, _, err := runAll(t,
			engine.Options{Selector: s, Containers: read(t, container(t, "a", 10)),
				Engines: []engine.Engine{e}})
		must(t, err)
		ok := len(reports) == len(tc.want)
		for _, pid := range tc.want {
			ok = ok && reports[pid] != nil
		}
		if !ok {
			t.Errorf("%q of %q: %d reports, want %v", tc.name, tc.user, len(reports), tc.want)
		}
	}
	s, err := engine.ParseSelector(filepath.Base(os.Args[0]), "")
	must(t, err)
	reports, _, err := runAll(t,
		engine.Options{Selector: s, Containers: read(t, container(t, "a", 10)),
			Engines: []engine.Engine{e}})
	if err != nil || reports[os.Getpid()] != nil {
		t.Errorf("itself: %v, %v", reports[os.Getpid()], err)
	}
	r := hostile.one(engine.Options{Containers: read(t, container(t, "a", 10)),
		Engines: []engine.Engine{e}})
	if r.Name != "evil\x1b[31m\nname" {
		t.Errorf("%q", r.Name)
	}
}

// TestNotAProcess names what is none: a thread, nobody, this process itself, a zombie, a kernel
// thread: only because it was named there is a report.
func TestNotAProcess(t *testing.T) {
	e := &fakeEngine{name: "fake"}
	run := func(pid int) (map[int]*engine.Report, error) {
		reports, _, err := runAll(t, engine.Options{Selector: engine.Selector{PID: pid},
			Engines: []engine.Engine{e}, RevertAll: "lib.so"})
		return reports, err
	}
	if _, err := run(thread(t)); !errors.Is(err, engine.ErrNotProcess) ||
		!strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("a thread: %v", err)
	}
	gone := exec.Command("true")
	must(t, gone.Run())
	if _, err := run(gone.Process.Pid); !errors.Is(err, engine.ErrNoProcess) {
		t.Errorf("nobody: %v", err)
	}
	skipped := func(what string, pid int, want error) {
		t.Helper()
		reports, err := run(pid)
		if r := reports[pid]; err != nil || len(reports) != 1 || r.Status != engine.Skipped ||
			!errors.Is(r.Err, want) {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
	}
	skipped("itself", os.Getpid(), engine.ErrNoEngine)
	zombie := exec.Command("true")
	must(t, zombie.Start())
	defer zombie.Wait()
	waitState(t, zombie.Process.Pid, process.Zombie)
	skipped("a zombie", zombie.Process.Pid, process.ErrGone)
	const kthreadd = 2
	if p, err := process.Look(t.Context(), kthreadd, process.Options{}); err == nil && p.Kernel {
		skipped("a kernel thread", kthreadd, engine.ErrNoEngine)
	} else {
		t.Log("no kernel thread to be seen, as in a container")
	}
}

// thread returns the number of a thread of this process that is not its first one; every Go program
// has some.
func thread(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/task")
	must(t, err)
	for _, e := range entries {
		if tid, err := strconv.Atoi(e.Name()); err == nil && tid != os.Getpid() {
			return tid
		}
	}
	t.Fatal("no second thread")
	return 0
}

// waitState waits until a process is in a state.
func waitState(t *testing.T, pid int, want process.State) {
	t.Helper()
	for {
		p, err := process.Look(t.Context(), pid, process.Options{})
		if err == nil && p.State == want {
			return
		}
		if err != nil && !errors.Is(err, process.ErrGone) {
			// which is what one that is just ending looks like
			t.Fatal(err)
		}
		runtime.Gosched()
	}
}

// TestFourThousand selects among many processes, in bounded memory. They are files: a directory
// that looks like proc.
func TestFourThousand(t *testing.T) {
	root := memoryDir(t)
	// above what Linux gives: none of them is this process, which is left out
	const many, first = 4000, 5_000_000
	for pid := first; pid < first+many; pid++ {
		forgeProcess(t, root, pid)
	}
	forgeProcess(t, root, os.Getpid())
	must(t, os.Symlink(strconv.Itoa(os.Getpid()), filepath.Join(root, "self")))
	name := engine.NewWildcard("sleeper[0-4]*")
	cs := read(t, container(t, "a", 10))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	seen := 0
	sum, err := engine.Run(t.Context(), engine.Options{
		Selector: engine.Selector{Name: &name}, Containers: cs,
		Engines: []engine.Engine{&fakeEngine{name: "fake"}}, Root: root,
	}, func(*engine.Report) { seen++ })
	must(t, err)
	runtime.ReadMemStats(&after)
	if seen != many/2 || sum.Skipped != many/2 {
		t.Errorf("%d reports, %+v", seen, sum)
	}
	if grown := int64(after.Sys) - int64(before.Sys); grown > 64<<20 {
		t.Errorf("%d MiB", grown>>20)
	}
}

// memoryDir returns a directory in memory if there is a file system for that: to make 44,000 files
// on a disk takes half a minute.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "lpbuild-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestUnknownIsSelected has processes of which one file or the other makes no sense: each counts as
// failed, and is listed, unless what can be read of it says that it is another one than those that
// are meant.
func TestUnknownIsSelected(t *testing.T) {
	const noName, match, other, long, loader, otherUser = 5_000_001, 5_000_002, 5_000_003,
		5_000_004, 5_000_005, 5_000_006
	root := t.TempDir()
	for pid, name := range map[int]string{noName: "", match: "sleeper", other: "other",
		long: "fifteen-bytes-x", loader: "ld.so", otherUser: "sleeper"} {
		forgeProcess(t, root, pid)
		dir := filepath.Join(root, strconv.Itoa(pid))
		stat := fmt.Sprintf("%d (%s) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0 0 4096 8192 "+
			"12288 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n", pid, name, pid)
		if pid == noName {
			stat = "garbled\n"
			must(t, os.Remove(filepath.Join(dir, "comm")))
		} else {
			must(t, os.WriteFile(filepath.Join(dir, "comm"), []byte(name+"\n"), 0o644))
		}
		must(t, os.WriteFile(filepath.Join(dir, "stat"), []byte(stat), 0o644))
		if pid == otherUser {
			must(t, os.WriteFile(filepath.Join(dir, "cgroup"), []byte("garbled"), 0o644))
		} else if pid != noName {
			must(t, os.WriteFile(filepath.Join(dir, "status"), []byte("garbled\n"), 0o644))
		}
	}
	forgeProcess(t, root, os.Getpid())
	must(t, os.Symlink(strconv.Itoa(os.Getpid()), filepath.Join(root, "self")))
	for _, tc := range []struct {
		name, user string
		want       []int
	}{
		{"sleeper", "", []int{noName, match, loader, otherUser}},
		{"sleeper", "4711", []int{match, loader}},
		// of which the kernel keeps 15 bytes
		{"fifteen-bytes-xyz", "", []int{noName, long, loader}},
	} {
		user, want := tc.user, tc.want
		s, err := engine.ParseSelector(tc.name, user)
		must(t, err)
		var failed []int
		sum, err := engine.Run(t.Context(),
			engine.Options{Selector: s, Engines: []engine.Engine{&fakeEngine{name: "fake"}},
				Root: root}, func(r *engine.Report) {
				if failed = append(failed, r.PID); r.Status != engine.Failed ||
					!errors.Is(r.Err, process.ErrMalformed) || r.PID == match &&
					r.Name != "sleeper" {
					t.Errorf("user %q, process %d %q: %v, %v", user, r.PID, r.Name, r.Status, r.Err)
				}
			})
		slices.Sort(failed)
		if d := cmp.Diff(want, failed); err != nil || d != "" || sum.Failed != len(want) {
			t.Errorf("user %q: %+v, %v (-want +got):\n%s", user, sum, err, d)
		}
		list, _, err := engine.Look(t.Context(), engine.SurveyOptions{Selector: s,
			Engines: []engine.Engine{&fakeEngine{name: "fake"}}, Root: root})
		var seen []int
		for _, one := range list {
			seen = append(seen, one.PID)
		}
		if d := cmp.Diff(want, seen); err != nil || d != "" {
			t.Errorf("survey, user %q: %v (-want +got):\n%s", user, err, d)
		}
	}
}

// forgeProcess makes what the kernel shows of a sleeping process without libraries.
func forgeProcess(t *testing.T, root string, pid int) {
	t.Helper()
	dir := filepath.Join(root, strconv.Itoa(pid))
	must(t, os.MkdirAll(filepath.Join(dir, "ns"), 0o755))
	name := "sleeper" + strconv.Itoa(pid%10)
	stat := fmt.Sprintf("%d (%s) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0 0 4096 8192 "+
		"12288 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n", pid, name, pid)
	auxv := make([]byte, 64)
	auxv[0], auxv[8] = 6, 16   // AT_PAGESZ
	auxv[16], auxv[24] = 3, 64 // AT_PHDR: exec is over
	auxv[32], auxv[41] = 7, 16 // AT_BASE: it was not started by its dynamic loader
	for file, text := range map[string]string{
		"comm": name + "\n", "stat": stat, "status": fmt.Sprintf(
			"Name:\t%s\nState:\tS (sleeping)\nTgid:\t%d\nPPid:\t1\nTracerPid:\t0\n"+
				"Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n"+"NSpid:\t%d\nVmSize:\t4 kB\nSigCgt:\t0\n"+
				"NoNewPrivs:\t0\nSeccomp:\t0\n", name, pid, pid),
		"cgroup": "0::/\n", "auxv": string(auxv),
		"maps": "1000-2000 rw-p 00000000 00:00 0 [stack]\n", "mem": "x",
	} {
		must(t, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644))
	}
	for link, to := range map[string]string{
		"exe": "/bin/sleeper", "root": "/", "ns/mnt": "mnt:[1]", "ns/pid": "pid:[2]",
		"ns/user": "user:[3]",
	} {
		must(t, os.Symlink(to, filepath.Join(dir, link)))
	}
}

// TestOptedOut reads what the owner of a process has said at its start.
func TestOptedOut(t *testing.T) {
	me, err := user.Current()
	must(t, err)
	group, err := user.LookupGroupId(me.Gid)
	must(t, err)
	for env, want := range map[string]bool{
		"NOTHING=1": false, "LIBPULP_DISABLE_ON_PATH=*/optout": true,
		"LIBPULP_DISABLE_ON_PATH=/nowhere/*:*/optout": true,
		"LIBPULP_DISABLE_ON_PATH=optout":              false, "LIBPULP_DISABLE_ON_PATH=": false,
		"LIBPULP_DISABLE_ON_USERS=" + me.Uid: true, "LIBPULP_DISABLE_ON_USERS=x:" +
			me.Username: true, "LIBPULP_DISABLE_ON_USERS=54321": false,
		"LIBPULP_DISABLE_ON_GROUPS=" + me.Gid: true, "LIBPULP_DISABLE_ON_GROUPS=" +
			group.Name: true, "LIBPULP_DISABLE_ON_GROUPS=54321:": false,
	} {
		c := start(t, "a", "", "optout", env)
		p, err := process.Look(t.Context(), c.pid, process.Options{})
		must(t, err)
		if err := engine.OptedOut(t.Context(), &engine.View{Process: p}); errors.Is(err,
			engine.ErrBlocked) != want || !want && err != nil {
			t.Errorf("%s: %v", env, err)
		}
	}
	p, err := process.Look(t.Context(), os.Getpid(), process.Options{})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := engine.OptedOut(ctx, &engine.View{Process: p}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
