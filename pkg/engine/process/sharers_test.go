package process_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// sharerKinds are the ways in which testdata/sharer.c makes another task, and whether that is a
// process with its memory.
var sharerKinds = map[string]bool{"child": true, "sibling": true, "orphan": true, "thread": false,
	"fork": false}

// startSharer starts testdata/sharer.c. make lets it make another task, and returns its number.
func startSharer(t *testing.T, kind string) (pid int, make func() int) {
	t.Helper()
	p := targettest.Start(t, exec.Command(compile(t, "sharer.c", "-pthread"), kind, "later"))
	number := func() int {
		n, err := strconv.Atoi(p.Line())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	number()
	return p.PID, func() int {
		if _, err := io.WriteString(p.In, "x"); err != nil {
			t.Fatal(err)
		}
		other := number()
		if kind != "thread" {
			t.Cleanup(func() { end(other) })
		}
		return other
	}
}

// end ends a process, which may be a child of the test.
func end(pid int) {
	if pid <= 0 {
		return // it was not made, and others would be killed
	}
	_ = unix.Kill(pid, unix.SIGKILL)
	_, _ = unix.Wait4(pid, nil, 0, nil)
}

// TestSharers: a process with the memory of another one is found, whoever its parent is, from
// either side and not any longer than it lives; by who asks from the beginning, by who keeps what
// it knew before, and by who asks about younger ones only.
func TestSharers(t *testing.T) {
	for kind, shares := range sharerKinds {
		t.Run(kind, func(t *testing.T) {
			pid, make := startSharer(t, kind)
			var kept process.Sharers
			other, before, _ := kept.With(look(t, pid))
			if other != 0 {
				t.Fatalf("it is alone, and shares its memory with %d", other)
			}
			made := make()
			want := 0
			if shares {
				want = made
			}
			if got, err := before.Sharer(pid, pid); err != nil || got != want {
				t.Errorf("made since: %d, %v, want %d", got, err, want)
			}
			for name, s := range map[string]*process.Sharers{"new": {}, "kept": &kept} {
				if got, _, _ := s.With(look(t, pid)); got != want {
					t.Errorf("%s: %d, want %d", name, got, want)
				}
				if got, _, _ := s.With(look(t, made)); shares && got != pid {
					t.Errorf("%s, from the other side: %d, want %d", name, got, pid)
				}
			}
			_, after, _ := kept.With(look(t, pid))
			if got, err := after.Sharer(pid, pid); err != nil || got != 0 {
				t.Errorf("since then: %d, %v", got, err)
			}
			if kind == "thread" {
				return
			}
			end(made)
			targettest.Await(t, "its end", func() bool {
				other, _, _ := kept.With(look(t, pid))
				return other == 0
			})
		})
	}
}

// TestSharersOfMany: with many processes that come and go, the answers are the same, also about one
// whose first thread has ended.
func TestSharersOfMany(t *testing.T) {
	for _, kind := range []string{"orphan", "headless"} {
		t.Run(kind, func(t *testing.T) { sharersOfMany(t, kind) })
	}
}

func sharersOfMany(t *testing.T, kind string) {
	var s process.Sharers
	pid, make := startSharer(t, kind)
	made := make()
	for range 5 {
		for range 100 {
			if err := exec.Command("true").Run(); err != nil {
				t.Fatal(err)
			}
		}
		if got, _, _ := s.With(look(t, pid)); got != made {
			t.Errorf("%d shares its memory with %d, and not %d", pid, made, got)
		}
	}
}

// TestSharersAmongExec: who is found does not depend on what others execute meanwhile, who then
// have other memory than before.
func TestSharersAmongExec(t *testing.T) {
	var s process.Sharers
	pid, make := startSharer(t, "sibling")
	_, _, _ = s.With(look(t, pid))
	for range 50 { // between their fork and their exec, or after it
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		_, _, _ = s.With(look(t, cmd.Process.Pid))
	}
	made := make()
	for range 100 {
		if got, _, _ := s.With(look(t, pid)); got != made {
			t.Fatalf("%d shares its memory with %d, and not %d", pid, made, got)
		}
	}
}

// setLastTask makes the kernel go on with a number after the one given.
func setLastTask(t *testing.T, n int) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(n)), 0); err != nil {
		t.Skipf("needs root, and a kernel that lets it choose the number of the next process: %v",
			err)
	}
}

// TestSharerTooMany: so many processes were made that nobody asks about each while a process stands
// still; asked anew before that, it is known.
func TestSharerTooMany(t *testing.T) {
	setLastTask(t, 300) // so that the numbers do not begin again within the test
	var s process.Sharers
	pid, make := startSharer(t, "child")
	other, at, _ := s.With(look(t, pid))
	if other != 0 {
		t.Fatal(other)
	}
	setLastTask(t, pid+10000)
	if err := exec.Command("true").Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := at.Sharer(pid, pid); !errors.Is(err, process.ErrLimit) {
		t.Errorf("%v, want %v", err, process.ErrLimit)
	}
	other, at, _ = s.Renew(look(t, pid), at)
	if got, err := at.Sharer(pid, pid); other != 0 || got != 0 || err != nil {
		t.Errorf("asked anew: %d, then %d, %v", other, got, err)
	}
	made := make()
	if got, err := at.Sharer(pid, pid); got != made || err != nil {
		t.Errorf("%d, %v, want %d", got, err, made)
	}
	setLastTask(t, made+1000)
	if err := exec.Command("true").Run(); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := s.Renew(look(t, pid), at); got != made {
		t.Errorf("asked anew: %d, want %d", got, made)
	}
}

// TestSharerNumbersBegin: who was made after the kernel has begun again with low numbers is found.
func TestSharerNumbersBegin(t *testing.T) {
	b, err := os.ReadFile("/proc/sys/kernel/pid_max")
	if err != nil {
		t.Fatal(err)
	}
	most, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	pid, make := startSharer(t, "child")
	setLastTask(t, most-3)
	t.Cleanup(func() { setLastTask(t, pid) })
	var s process.Sharers
	other, at, _ := s.With(look(t, pid))
	if other != 0 {
		t.Fatal(other)
	}
	for range 5 {
		if err := exec.Command("true").Run(); err != nil {
			t.Fatal(err)
		}
	}
	made := make()
	if made > most/2 {
		t.Fatalf("numbers have not begun again: %d", made)
	}
	if got, err := at.Sharer(pid, pid); got != made || err != nil {
		t.Errorf("%d, %v, want %d", got, err, made)
	}
	if got, _, _ := s.With(look(t, pid)); got != made {
		t.Errorf("%d, want %d", got, made)
	}
}
