package process_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

func TestLook(t *testing.T) {
	target := start(t, "threads", "3")
	p := look(t, target.pid)
	self := look(t, os.Getpid())
	if p.PID != target.pid || p.ParentPID != os.Getpid() || p.Name != "target" ||
		p.ExeName() != "target" || p.ExeDeleted {
		t.Errorf("names: %+v", p)
	}
	if p.Threads != 4 || p.Kernel || p.Denied || p.Bits32 || p.Chrooted() || p.TracerPID != 0 ||
		p.Seccomp != process.SeccompNone || !p.Alive() {
		t.Errorf("state: %+v", p)
	}
	if p.InnerPID != p.PID || p.MountNS != self.MountNS || p.PIDNS != self.PIDNS ||
		p.UserNS != self.UserNS || p.MountNS == 0 {
		t.Errorf("namespaces: %+v, own %+v", p, self)
	}
	uid := uint32(os.Getuid())
	if d := cmp.Diff(process.IDs{Real: uid, Effective: uid, Saved: uid, FS: uid}, p.UID); d != "" {
		t.Errorf("UID (-want +got):\n%s", d)
	}
	list, err := p.ThreadList(t.Context())
	if err != nil || len(list) != 4 || list[0].TID != p.PID {
		t.Errorf("ThreadList: %v, %v", list, err)
	}
	if err := p.Verify(t.Context()); err != nil {
		t.Errorf("Verify: %v", err)
	}
}

func TestLookState(t *testing.T) {
	tests := map[string]struct {
		args  []string
		child bool // look at the process that the target started
		want  func(p *process.Process) bool
	}{
		"seccomp": {[]string{"seccomp"}, false, func(p *process.Process) bool {
			return p.Seccomp == process.SeccompFilter && p.NoNewPrivs
		}},
		"undumpable": {[]string{"undumpable"}, false, func(p *process.Process) bool {
			return p.Denied == (targettest.Others() != nil)
		}},
		"zombie": {[]string{"child"}, true, func(p *process.Process) bool {
			return p.State == process.Zombie && !p.Alive() && !p.Denied
		}},
		"traced": {[]string{"child", "traced"}, true, func(p *process.Process) bool {
			return p.State == process.TracingStop && p.TracerPID == p.ParentPID && p.Exe != ""
		}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			target := start(t, tc.args...)
			pid := target.pid
			if tc.child {
				pid = int(target.word)
			}
			if p := look(t, pid); !tc.want(p) {
				t.Errorf("%+v", p)
			}
		})
	}
}

func TestLookStopped(t *testing.T) {
	target := start(t, "stop")
	targettest.Await(t, "a stop", func() bool {
		return look(t, target.pid).State == process.Stopped
	})
	targettest.Await(t, "both threads to stop", func() bool {
		list, err := look(t, target.pid).ThreadList(t.Context())
		if err != nil || len(list) != 2 {
			t.Fatalf("ThreadList: %v, %v", list, err)
		}
		return list[0].State == process.Stopped && list[1].State == process.Stopped
	})
	if libraries(t, target.pid)["libc.so.6"] == nil {
		t.Error("no libc.so.6 in a stopped process")
	}
	if p := look(t, target.pid); p.State != process.Stopped || p.TracerPID != 0 {
		t.Errorf("after looking: %+v", p)
	}
}

// The main thread may end before the others. Then /proc/PID shows a zombie and no memory, but the
// process lives.
func TestLookLeaderGone(t *testing.T) {
	target := start(t, "leader")
	targettest.Await(t, "the end of the main thread", func() bool {
		return look(t, target.pid).State == process.Zombie
	})
	p := look(t, target.pid)
	if !p.Alive() || p.Exe == "" || p.Threads != 2 {
		t.Errorf("%+v", p)
	}
	if libraries(t, target.pid)["libc.so.6"] == nil {
		t.Error("no libc.so.6")
	}
	if env, whole, err := p.Environ(t.Context(), "PATH"); err != nil || !whole ||
		env["PATH"] != os.Getenv("PATH") {
		t.Errorf("Environ: %v, %v", env, err)
	}
	if err := p.Verify(t.Context()); err != nil {
		t.Errorf("Verify: %v", err)
	}
}

func TestLookNamespaces(t *testing.T) {
	cmd := exec.Command(compile(t, "target.c", "-pthread", "-ldl"), "dlopen", library(t, idA),
		"value")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
	}
	targettest.NeedNamespaces(t, cmd.SysProcAttr.Cloneflags)
	target := run(t, cmd)
	p, self := look(t, target.pid), look(t, os.Getpid())
	if p.InnerPID != 1 || p.PIDNS == self.PIDNS || p.MountNS == self.MountNS {
		t.Errorf("%+v", p)
	}
	if l := libraries(t, target.pid)["library"]; l == nil || l.SONAME != "libtest.so.1" {
		t.Errorf("library in another mount namespace: %+v", l)
	}
}

func TestLookChroot(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	p := look(t, start(t, "chroot", dir).pid)
	if !p.Chrooted() || p.Root != dir {
		t.Errorf("%+v, want root %s", p, dir)
	}
	if libraries(t, p.PID)["libc.so.6"] == nil {
		t.Error("no libc.so.6 in a chroot")
	}
}

func TestLook32Bits(t *testing.T) {
	path, err := tryCompile("tiny.c", "-m32", "-nostdlib", "-static", "-fno-pic", "-no-pie",
		"-Wl,--build-id=0x"+idA)
	if err != nil {
		t.Skipf("gcc cannot make 32-bit programs here: %v", err)
	}
	target := run(t, exec.Command(path))
	p := look(t, target.pid)
	l := libraries(t, target.pid)["tiny"]
	if !p.Bits32 || l == nil || !l.Main || len(l.BuildID) != 20 || l.Problem != nil {
		t.Errorf("%+v, library %+v", p, l)
	}
}

func TestLookStatic(t *testing.T) {
	path := compile(t, "tiny.c", "-nostdlib", "-static", "-Wl,--build-id=0x"+idA)
	target := run(t, exec.Command(path))
	libs := libraries(t, target.pid)
	if l := libs["tiny"]; len(libs) != 1 || l == nil || !l.Main || len(l.BuildID) != 20 {
		t.Errorf("libraries of a static program: %+v", libs)
	}
}

func TestLookDeletedProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	copyFile(t, compile(t, "tiny.c", "-nostdlib", "-static", "-Wl,--build-id=0x"+idA), path)
	target := run(t, exec.Command(path))
	os.Remove(path)
	p := look(t, target.pid)
	if p.Exe != path || !p.ExeDeleted || p.ExeName() != "program" {
		t.Errorf("%+v", p)
	}
	if l := libraries(t, target.pid)["program"]; l == nil || !l.Deleted || !l.Main {
		t.Errorf("library: %+v", l)
	}
}

func TestNoMemory(t *testing.T) {
	p := look(t, int(start(t, "child").word)) // a zombie
	_, memory := p.Memory(t.Context())
	_, libraries := p.Libraries(t.Context())
	_, _, environ := p.Environ(t.Context(), "PATH")
	for _, err := range []error{memory, libraries, environ} {
		if !errors.Is(err, process.ErrNoMemory) {
			t.Errorf("%v, want ErrNoMemory", err)
		}
	}
	if p.ExeName() != "" || p.Verify(t.Context()) != nil {
		t.Errorf("%+v", p)
	}
}

func TestLookKernelThread(t *testing.T) {
	p, err := process.Look(t.Context(), 2, process.Options{})
	if errors.Is(err, process.ErrGone) || err == nil && p.Name != "kthreadd" {
		t.Skip("pid 2 is no kernel thread in this pid namespace")
	}
	if err != nil || !p.Kernel || p.Denied || p.Exe != "" {
		t.Errorf("kthreadd: %+v, %v", p, err)
	}
	if _, err := p.Memory(t.Context()); !errors.Is(err, process.ErrNoMemory) {
		t.Errorf("Memory: %v, want ErrNoMemory", err)
	}
}

func TestLookGone(t *testing.T) {
	target := start(t)
	p := look(t, target.pid)
	m := memory(t, target.pid)
	target.stop()
	calls := map[string]func() error{
		"Look": func() error {
			_, err := process.Look(t.Context(), p.PID, process.Options{})
			return err
		},
		"negative": func() error {
			_, err := process.Look(t.Context(), -1, process.Options{})
			return err
		},
		"Verify":    func() error { return p.Verify(t.Context()) },
		"Memory":    func() error { _, err := p.Memory(t.Context()); return err },
		"Environ":   func() error { _, _, err := p.Environ(t.Context(), "PATH"); return err },
		"threads":   func() error { _, err := p.ThreadList(t.Context()); return err },
		"Libraries": func() error { _, err := m.Libraries(t.Context()); return err },
		"ReadAt": func() error {
			_, err := m.ReadAt(t.Context(), make([]byte, 8), 0x1000)
			return err
		},
	}
	for name, call := range calls {
		err := call()
		var le *process.LookError
		if !errors.Is(err, process.ErrGone) || !errors.As(err, &le) {
			t.Errorf("%s: %v, want a LookError with ErrGone", name, err)
		}
	}
}

// A pid that belongs to another process by now is not taken for the one that was seen before.
func TestVerifyOtherProcess(t *testing.T) {
	p := look(t, start(t).pid)
	p.StartTime--
	if err := p.Verify(t.Context()); !errors.Is(err, process.ErrGone) {
		t.Errorf("Verify: %v, want ErrGone", err)
	}
}

func TestVerifyExec(t *testing.T) {
	target := start(t, "exec")
	p := look(t, target.pid)
	m, err := p.Memory(t.Context())
	if err != nil && !errors.Is(err, process.ErrChanged) {
		t.Fatal(err)
	}
	targettest.Await(t, "an exec", func() bool {
		return errors.Is(p.Verify(t.Context()), process.ErrChanged)
	})
	if m == nil {
		return
	}
	defer m.Close()
	// At once, or when the next program is gone, too: opened in the middle of an exec it may be
	// that one's.
	targettest.Await(t, "an exec, seen by its memory", func() bool {
		_, err := m.Libraries(t.Context())
		return errors.Is(err, process.ErrChanged)
	})
}

func TestUnprivileged(t *testing.T) {
	needRoot(t)
	target := start(t)
	asNobody(t, func() error { return nil }, func() {
		// a context that never ends keeps the calls on this thread
		p, err := process.Look(context.Background(), target.pid, process.Options{})
		if err != nil {
			t.Error(err)
			return
		}
		if !p.Denied || p.Exe != "" || p.MountNS != 0 || p.Name != "target" || p.UID.Real != 0 {
			t.Errorf("another user's process: %+v", p)
		}
		if _, err := p.Libraries(context.Background()); !errors.Is(err, process.ErrPermission) {
			t.Errorf("Libraries: %v, want ErrPermission", err)
		}
		if _, _, err := p.Environ(context.Background(), "PATH"); !errors.Is(err,
			process.ErrPermission) {
			t.Errorf("Environ: %v, want ErrPermission", err)
		}
	})
}

func TestEnviron(t *testing.T) {
	cmd := exec.Command(compile(t, "target.c", "-pthread", "-ldl"))
	cmd.Env = []string{"A=1", "AB=2", "EMPTY=", "B=x=y", "LIBPULP_DISABLE_ON_PATH=/opt/.*"}
	p := look(t, run(t, cmd).pid)
	got, whole, err := p.Environ(t.Context(), "A", "B", "EMPTY", "MISSING",
		"LIBPULP_DISABLE_ON_PATH")
	want := map[string]string{"A": "1", "B": "x=y", "EMPTY": "",
		"LIBPULP_DISABLE_ON_PATH": "/opt/.*"}
	if d := cmp.Diff(want, got); d != "" || err != nil || !whole {
		t.Errorf("Environ: whole %v, %v (-want +got):\n%s", whole, err, d)
	}
}

func TestOptionsRoot(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, strconv.Itoa(os.Getpid())), 0o755); err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err := errors.Join(err, os.Symlink(strconv.Itoa(os.Getpid()), filepath.Join(dir, "self")),
		os.WriteFile(filepath.Join(dir, "self", "status"), status, 0o600)); err != nil {
		t.Fatal(err)
	}
	// A FIFO in the place of a file must not block.
	if err := syscall.Mkfifo(filepath.Join(dir, strconv.Itoa(os.Getpid()), "stat"),
		0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := process.Look(ctx, os.Getpid(), process.Options{Root: dir}); !errors.Is(err,
		process.ErrMalformed) {
		t.Errorf("Look: %v, want ErrMalformed", err)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := process.Look(ctx, os.Getpid(), process.Options{}); !errors.Is(err,
		context.Canceled) {
		t.Errorf("Look: %v, want context.Canceled", err)
	}
}

func TestUnfiltered(t *testing.T) {
	for mode, want := range map[string]bool{"seccomp": false, "seccompone": true, "threads": true} {
		target := start(t, mode, "2")
		p := look(t, target.pid)
		if free, err := p.Unfiltered(t.Context()); free != want || err != nil {
			t.Errorf("%s: %v, %v", mode, free, err)
		}
		target.stop()
		if _, err := p.Unfiltered(t.Context()); !errors.Is(err, process.ErrGone) {
			t.Errorf("%s: after its end: %v", mode, err)
		}
	}
}
