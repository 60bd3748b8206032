package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/console"
)

// TestStatusOfOthers checks that a process which runs no program has a row that says so.
func TestStatusOfOthers(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	stat := func(pid int) string {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, state, _ := strings.Cut(string(data), ") ")
		return state
	}
	for deadline := time.Now().Add(10 * time.Second); !strings.HasPrefix(stat(cmd.Process.Pid),
		"Z"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d is no zombie: %s", cmd.Process.Pid, stat(cmd.Process.Pid))
		}
	}
	want := map[int]string{cmd.Process.Pid: "no engine: a zombie: it has ended, and its parent " +
		"has not waited for it"}
	// not in a PID namespace
	if name, _ := os.ReadFile("/proc/2/comm"); string(name) == "kthreadd\n" {
		want[2] = "no engine: a kernel thread, which runs no program"
	}
	for pid, state := range want {
		var out bytes.Buffer
		if code := run([]string{"status", "-p", fmt.Sprint(pid)},
			&console.Console{Out: &out, Err: &out}); code != 0 {
			t.Errorf("status -p %d: exit code %d, want 0", pid, code)
		}
		if got := out.String(); !strings.Contains(got, state) {
			t.Errorf("status -p %d: got %s, want a row with %q", pid, got, state)
		}
	}
}
