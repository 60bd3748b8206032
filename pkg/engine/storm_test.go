package engine_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine"
)

// stormInside is set in the environment of the test that runs in its own pid namespace.
const stormInside = "ENGINE_TEST_STORM_INSIDE"

// TestStorm: while others make processes as fast as the CPUs can, so that process numbers begin
// again several times a second, all targets are patched and reverted at the first attempt, and a
// process that waits for a vforked child is reported at once.
func TestStorm(t *testing.T) {
	if os.Getenv(stormInside) == "" {
		targettest.NeedNamespaces(t, unix.CLONE_NEWPID|unix.CLONE_NEWNS)
		again := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child",
			"--mount-proc", os.Args[0], "-test.run=^TestStorm$", "-test.v")
		again.Env = append(os.Environ(), stormInside+"=1")
		out, err := again.CombinedOutput()
		if t.Logf("%s", out); err != nil {
			t.Error("in a pid namespace of its own: ", err)
		}
		return
	}
	lowerPIDMax(t)
	const n = 32
	for range n {
		start(t, "a", "", "storm_target")
	}
	vforkParent(t, "storm_vfork", "")
	storm := gcc(t, "stormer", "../../testdata/storm.c")
	storms := []*child{run(t, exec.Command(storm)), run(t, exec.Command(storm, "vfork"))}
	all, targets := engine.NewWildcard("storm_*"), engine.NewWildcard("storm_target")
	o := engine.Options{Engines: onlyNative, Containers: read(t, container(t, "a", 10)),
		Timeout: 20 * time.Second}
	made, laps := weather(t, storms)
	began, stops := time.Now(), 0
	const rounds = 40
	for round := range rounds {
		o.Selector.Name, o.Revert = &targets, round%2 == 1
		if round == 0 {
			o.Selector.Name = &all
		}
		reports, sum, err := runAll(t, o)
		if err != nil || sum.Changed != n || sum.Failed != 0 || round == 0 &&
			(sum.Skipped != 2 || sum.Left != 2) {
			t.Errorf("round %d: %v, %+v", round, err, sum)
		}
		for pid, r := range reports {
			switch stops += r.Attempts; {
			case r.Name == "storm_target" && r.Status != engine.Changed:
				t.Errorf("round %d: process %d: %v", round, pid, why(r))
			case r.Name == "storm_vfork" && !slices.ContainsFunc(stepErrors(r), isShared):
				t.Errorf("process %d: %v", pid, why(r))
			}
		}
	}
	took := time.Since(began)
	madeThen, lapsThen := weather(t, storms)
	t.Logf("%d rounds in %v, %d stops; beside %.0f new processes a second, whose numbers began "+
		"again %d times", rounds, took, stops,
		float64(madeThen-made)/took.Seconds(), lapsThen-laps)
	if took > o.Timeout {
		t.Errorf("%v, which is the time that one process has", took)
	}
	if lapsThen == laps {
		t.Error("process numbers have not begun again")
	}
	if stops > n*rounds+rounds/10 {
		// some may be for other reasons, such as a machine that is very busy
		t.Errorf("%d stops, where %d would have done", stops, n*rounds)
	}
}

func isShared(err error) bool {
	return errors.Is(err, engine.ErrShared) || errors.Is(err, engine.ErrVfork)
}

// weather returns how many processes the storms have made, and how often numbers have begun again
// for one of them.
func weather(t *testing.T, storms []*child) (made, laps int) {
	t.Helper()
	for _, s := range storms {
		var m, l int
		if _, err := fmt.Sscan(s.Ask(""), &m, &l); err != nil {
			t.Fatal(err)
		}
		made, laps = made+m, max(laps, l)
	}
	return made, laps
}

// lowerPIDMax has process numbers of this namespace begin again soon, and often where the kernel
// has a limit for each namespace (since Linux 6.14); before, the limit is the machine's, and left
// as it is.
func lowerPIDMax(t *testing.T) {
	t.Helper()
	const most = 1024
	var u unix.Utsname
	var major, minor int
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major,
		&minor); err != nil {
		t.Fatal(err)
	}
	file, value := "/proc/sys/kernel/pid_max", most
	if major < 6 || major == 6 && minor < 14 {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		file = "/proc/sys/kernel/ns_last_pid"
		if value, err = strconv.Atoi(strings.TrimSpace(string(b))); err != nil {
			t.Fatal(err)
		}
		value -= most
	}
	if err := os.WriteFile(file, []byte(strconv.Itoa(value)), 0o644); err != nil {
		t.Fatal(err)
	}
}
