package tracer

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
)

// TestOldKilled kills the engine while a thread is away that was in a system call by int $0x80.
func TestOldKilled(t *testing.T) {
	for how, want := range map[string]string{"old-read": "1 0 ", "old-nanosleep": "0 0 ",
		"old-poll": "0 0 "} {
		t.Run(how, func(t *testing.T) {
			skipOld(t, how)
			t.Parallel() // it sleeps for 2 s
			c := start(t, program(t, "blocked"), how, "2000")
			time.Sleep(20 * time.Millisecond)
			if err := startEngine(&checker{child: c}, atResume,
				"syscalls").Run(); !targettest.Killed(err) {
				t.Error(err)
			}
			if got := c.Line(); !strings.HasPrefix(got, want) {
				t.Errorf("%q", got)
			}
		})
	}
}

// sleepers are the ways to sleep that the kernel goes on with; the old ones by int $0x80.
var sleepers = []string{"nanosleep", "poll", "clock_nanosleep", "old-nanosleep", "old-poll",
	"old-clock_nanosleep"}

// TestRestartedTwice kills the engine while a thread is away that had been interrupted before in
// the same sleep: it goes on sleeping. The kernel has forgotten then which call it was.
func TestRestartedTwice(t *testing.T) {
	for _, how := range sleepers {
		t.Run(how, func(t *testing.T) {
			skipOld(t, how)
			t.Parallel() // it sleeps for 2 s
			restartedTwice(t, start(t, program(t, "blocked"), how, "2000"), func(*Registers) {})
		})
	}
}

// TestBeforeRestart is the same for a thread that is stopped when the kernel has just set its
// registers to go on with the sleep, and when it has even left the kernel already.
func TestBeforeRestart(t *testing.T) {
	for _, how := range sleepers {
		for where, orig := range map[string]uint64{"kernel": 0, "user": ^uint64(0)} {
			t.Run(how+" "+where, func(t *testing.T) {
				skipOld(t, how)
				t.Parallel()
				restartedTwice(t, start(t, program(t, "blocked"), how, "2000"), func(r *Registers) {
					r.Rax, r.Rip, r.Orig_rax = unix.SYS_RESTART_SYSCALL, r.Rip-syscallLen,
						r.Orig_rax|orig
					if strings.HasPrefix(how, "old-") {
						r.Rax = 0
					}
				})
			})
		}
	}
}

// restartedTwice changes the registers of a thread that sleeps to what the kernel might have done
// with them.
func restartedTwice(t *testing.T, c *child, change func(*Registers)) {
	g := gadgets(t, c.pid)
	for range 2 {
		time.Sleep(50 * time.Millisecond)
		detach(t, attach(t, c.pid, Options{}))
	}
	o := Options{Gadgets: g, step: func(name string) {
		if name == "resume" {
			panic(name)
		}
	}}
	tr := attach(t, c.pid, o)
	_ = tr.Do(func() error {
		defer func() { _ = recover() }()
		r := tr.threads[0].regs
		if !r.forgetsTime() {
			t.Errorf("it does not sleep: %+v", r)
		}
		if change(&r); setRegisters(c.pid, &r) != nil || tr.readState(tr.threads[0]) != nil ||
			!tr.threads[0].regs.forgetsTime() {
			t.Errorf("%+v", tr.threads[0].regs)
		}
		_, err := tr.Syscalls(t.Context(), tr.Threads()[0], Call{Nr: unix.SYS_GETPID})
		return err
	})
	tr.threads[0].excursion = nil // as if this process had died: nothing is put back
	detach(t, tr)
	if got := c.Line(); !strings.HasPrefix(got, "0 0 ") {
		t.Errorf("%q", got)
	}
}

func TestRestartedCall(t *testing.T) {
	for name, tc := range map[string]struct {
		code string
		want uint64
	}{
		"just before": {"\x90\xb8\xe6\x00\x00\x00", unix.SYS_CLOCK_NANOSLEEP},
		"farther":     {"\xb8\x07\x00\x00\x00\x31\xd2", unix.SYS_POLL},
		"the nearest": {"\xb8\x07\x00\x00\x00\xb8\xca\x00\x00\x00", unix.SYS_FUTEX},
		"another":     {"\xb8\x01\x00\x00\x00", unix.SYS_RESTART_SYSCALL},
		"cut off":     {"\xb8\x07\x00", unix.SYS_RESTART_SYSCALL},
		"nothing":     {"", unix.SYS_RESTART_SYSCALL},
	} {
		if got := entrances[0].restartedCall([]byte(tc.code)); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}
