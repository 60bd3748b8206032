package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// jobs are the things this program does as a worker.
var jobs = map[string]func() int{
	"says":    func() int { fmt.Println("done"); return 0 },
	"panics":  func() int { fmt.Println("begun"); panic("no") },
	"killed":  func() int { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} },
	"floods":  func() int { fmt.Print(strings.Repeat("x", 2<<20)); return 0 },
	"forever": forever,
}

// forever lasts as long as the test.
func forever() int {
	_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	time.Sleep(time.Hour)
	return 0
}

// TestGuard passes on a worker's output, survives it, and does not wait for one that does not end.
func TestGuard(t *testing.T) {
	for job, want := range map[string]string{"says": "done\n", "panics": "begun\npanic: no",
		"killed": "", "floods": "xxx"} {
		t.Setenv("HOOK_TEST_JOB", job)
		var out bytes.Buffer
		err := Guard(t.Context(), time.Minute, &out)
		if !strings.HasPrefix(out.String(), want) || out.Len() > 1<<20 {
			t.Errorf("%s: Guard prints %.100q, want %q", job, out.String(), want)
		}
		_, exited := errors.AsType[*exec.ExitError](err)
		if bad := job == "panics" || job == "killed"; exited != bad || !bad && err != nil {
			t.Errorf("%s: %v", job, err)
		}
	}
	t.Setenv("HOOK_TEST_JOB", "forever")
	var out bytes.Buffer
	if err := Guard(t.Context(), 0, &out); !errors.Is(err, errLate) {
		t.Errorf("Guard did not end: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Guard(ctx, 0, &out); !errors.Is(err, errLate) {
		t.Errorf("Guard did not end when interrupted: %v", err)
	}
}
