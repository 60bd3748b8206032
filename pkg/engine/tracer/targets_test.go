package tracer

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
)

// TestTargets works on processes of all kinds that need no other test: calls and system calls give
// the right results, and the process goes on.
func TestTargets(t *testing.T) {
	plain := func(*exec.Cmd) {}
	namespaces := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS |
		unix.CLONE_NEWUSER, UidMappings: []syscall.SysProcIDMap{
		{ContainerID: 0, HostID: os.Getuid(), Size: 1}}}
	hasUsers := true
	if cmd := exec.Command("true"); os.Getuid() == 0 {
		// who need not be root of a user namespace, and cannot in a chroot
		cmd.SysProcAttr = namespaces
		if cmd.Run() != nil {
			t.Log("in namespaces: there are no user namespaces here")
			hasUsers = false
			namespaces = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
		}
	}
	for name, tc := range map[string]struct {
		target string
		flags  []string
		as     func(*exec.Cmd)
	}{
		"setuid":   {target: "setuid", as: plain},
		"chrooted": {target: "chroot", as: plain},
		"static":   {target: "pause", flags: []string{"-static"}, as: plain},
		"in namespaces": {target: "pause", as: func(cmd *exec.Cmd) {
			attr := *namespaces
			cmd.SysProcAttr = &attr
		}},
	} {
		t.Run(name, func(t *testing.T) {
			switch name {
			case "setuid":
				targettest.NeedOthers(t)
			case "chrooted":
				if os.Getuid() != 0 {
					t.Skip("needs root")
				}
			case "in namespaces":
				if !hasUsers {
					targettest.NeedNamespaces(t, namespaces.Cloneflags)
				}
			}
			c := startCheckerAs(t, 2, tc.as, tc.flags, tc.target)
			g := gadgets(t, c.pid)
			for range 5 {
				tr := attach(t, c.pid, Options{Gadgets: g})
				for _, th := range tr.Threads() {
					r, err := tr.Syscalls(t.Context(), th, Call{Nr: unix.SYS_GETPPID},
						Call{Nr: unix.SYS_GETTID})
					if err != nil || len(r) != 2 || name != "in namespaces" &&
						r[1].Value != uint64(th.TID) {
						t.Fatalf("%s: %+v, %v", name, r, err)
					}
					if v, err := tr.Call(t.Context(), th, c.sum, 1, 2, 3, 4, 5, 6); v != 91 ||
						err != nil {
						t.Fatalf("%s: %d, %v", name, v, err)
					}
				}
				detach(t, tr)
			}
			c.goesOn()
		})
	}
}

// TestThousandCalls applies a function 1,000 times, each under its own stop, to threads that hold a
// value in every register.
func TestThousandCalls(t *testing.T) {
	c := startChecker(t, 2)
	o := Options{Gadgets: gadgets(t, c.pid), StopTimeout: 10 * time.Second}
	for range 500 {
		_, err := Run(t.Context(), c.pid, o, func(tr *Tracee) error {
			for _, th := range tr.Threads() {
				if v, err := tr.Call(t.Context(), th, c.sum, 1, 2, 3, 4, 5, 6); v != 91 ||
					err != nil {
					t.Errorf("%d, %v", v, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	c.goesOn()
}

// TestStrange visits processes that do strange things to themselves, and would notice if they went
// wrong: a restartable sequence must not be finished once the kernel has given it up, and single
// steps must go on one by one.
func TestStrange(t *testing.T) {
	for _, how := range []string{"rseq", "stepped"} {
		c := start(t, program(t, "life"), how)
		g := gadgets(t, c.pid)
		for range 100 {
			if err := visit(t, c.pid, g); err != nil {
				t.Fatalf("%s: %v", how, err)
			}
		}
		time.Sleep(5 * time.Millisecond)
		var status unix.WaitStatus
		if pid, err := unix.Wait4(c.pid, &status, unix.WNOHANG, nil); pid != 0 || err != nil {
			t.Errorf("%s: exit code %d, signal %v", how, status.ExitStatus(), status.Signal())
		}
	}
}

// Test32BitCode refuses a thread that runs 32-bit code in a 64-bit process.
func Test32BitCode(t *testing.T) {
	c := start(t, program(t, "life"), "compat")
	for deadline := time.Now().Add(10 * time.Second); ; {
		tr, err := tryAttach(t.Context(), c.pid, Options{})
		if errors.Is(err, ErrUnsupported) {
			break
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatal(err)
		}
		detach(t, tr) // it is not yet there
	}
	if state, tracer := stat(t, c.pid, c.pid); state != "R" || tracer != 0 {
		t.Errorf("state %s, tracer %d", state, tracer)
	}
}

// TestUnprivileged lets nobody try to trace a process of root's.
func TestUnprivileged(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to be someone else")
	}
	c := startChecker(t, 1)
	self := t.TempDir() + "/engine"
	if out, err := exec.Command("cp", os.Args[0], self).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	for dir := self; dir != "/" && dir != os.TempDir(); dir = dir[:strings.LastIndex(dir, "/")] {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "TRACER_TEST_ENGINE=attach", "TRACER_TEST_PID="+itoa(c.pid))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "not permitted\n" {
		t.Errorf("%v: %s", err, out)
	}
	c.goesOn()
}
