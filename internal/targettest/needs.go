package targettest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Whether a machine permits something is tried, not derived from a user's number: root of a
// container has few capabilities, and security modules and system call filters decide, too.

// NeedNamespaces skips the test unless a process can be started in new namespaces, given as flags
// of clone(2).
func NeedNamespaces(t testing.TB, flags uintptr) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	if err := cmd.Run(); err != nil {
		t.Skipf("a process in new namespaces (flags %#x), which needs CAP_SYS_ADMIN: %v", flags,
			err)
	}
}

// NeedOthers skips the test unless it may look into processes of other users.
func NeedOthers(t testing.TB) {
	t.Helper()
	if err := Others(); err != nil {
		t.Skipf("looking into a process of another user, which needs CAP_SYS_PTRACE: %v", err)
	}
}

// Others looks into a process of another user, and returns what the kernel says to that.
func Others() error {
	const nobody = 65534
	attr := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return withIdle(attr, func(pid int) error {
		_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		return err
	})
}

// withIdle calls a function with the PID of a process that does nothing.
func withIdle(attr *syscall.SysProcAttr, f func(pid int) error) error {
	cmd := exec.CommandContext(context.Background(), "cat")
	cmd.SysProcAttr = attr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { in.Close(); _ = cmd.Wait() }()
	if _, err := io.WriteString(in, "\n"); err != nil {
		return err
	}
	if _, err := bufio.NewReader(out).ReadByte(); err != nil { // it runs, as that user
		return err
	}
	return f(cmd.Process.Pid)
}

// NeedMappedFiles skips the test unless the kernel opens the files that processes have mapped.
func NeedMappedFiles(t testing.TB) {
	t.Helper()
	if err := MappedFiles(); err != nil {
		t.Skipf("opening a mapped file, which needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN: %v",
			err)
	}
}

// MappedFiles opens a file that this process has mapped, and returns what the kernel says to that.
func MappedFiles() error {
	entries, err := os.ReadDir("/proc/self/map_files")
	if err == nil && len(entries) == 0 {
		err = errors.New("this process has no file mapped")
	}
	if err == nil {
		var f *os.File
		if f, err = os.Open("/proc/self/map_files/" + entries[0].Name()); err == nil {
			f.Close()
		}
	}
	return err
}

// NeedFilters skips the test unless this process may read the system call filters of others.
func NeedFilters(t testing.TB) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	var capabilities uint64
	filtered := true
	for line := range strings.Lines(string(status)) {
		switch name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t"); name {
		case "CapEff":
			if _, err := fmt.Sscanf(value, "%x", &capabilities); err != nil {
				t.Fatal(err)
			}
		case "Seccomp":
			filtered = value != "0"
		}
	}
	if capabilities&(1<<unix.CAP_SYS_ADMIN) == 0 || filtered {
		t.Skipf("reading system call filters, which needs CAP_SYS_ADMIN and no filter of one's "+
			"own: capabilities %#x, filtered: %t",
			capabilities, filtered)
	}
}
