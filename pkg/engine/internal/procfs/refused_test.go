package procfs

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// asNobody is set in the process that TestRefused runs as another user.
const asNobody = "LPBUILD_TEST_REFUSED"

// TestRefused: the owner of a process that has just ended is refused its files, and that is because
// it is gone.
func TestRefused(t *testing.T) {
	if os.Geteuid() == 0 && os.Getenv(asNobody) == "" { // root may read everything
		cmd := exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
			"--bounding-set=-all", "/proc/self/fd/3", "-test.run=^TestRefused$", "-test.v")
		binary, err := os.Open("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		defer binary.Close()
		cmd.Dir, cmd.Env, cmd.ExtraFiles = "/", append(os.Environ(), asNobody+"=1"),
			[]*os.File{binary}
		if out, err := cmd.CombinedOutput(); err != nil ||
			!strings.Contains(string(out), "--- PASS: TestRefused") {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	cmd := exec.Command("sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }() // not before: it is to be a zombie
	d, err := Open("/proc", cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for {
		if s, err := d.Stat(0); err != nil || s.Ended() {
			break
		}
		time.Sleep(time.Millisecond)
	}
	f, err := d.Open("mem", ReadOnly)
	if err == nil {
		f.Close()
	}
	if !errors.Is(err, ErrGone) {
		t.Errorf("mem of a zombie: %v, want ErrGone", err)
	}
}
