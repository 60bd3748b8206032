package tracer

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// blockedCase is how a system call must end: as if nothing had happened, after half a second. Where
// the kernel cannot go on with the time that is left, it is later.
type blockedCase struct {
	ret    int
	errno  unix.Errno
	millis int // at most, but for a busy machine; where the call has a timeout, also at least
}

// TestBlocked stops threads twice inside a system call, with and without sending them elsewhere.
// Many wait at the same time.
func TestBlocked(t *testing.T) {
	t.Parallel() // it mostly waits
	const (
		normal = 500
		anew   = 700 // a timeout that started again at the second stop, after 200 ms
	)
	tests := map[string]blockedCase{
		"read": {1, 0, normal}, "poll": {0, 0, normal}, "ppoll": {0, 0, normal},
		"select":    {0, 0, normal},
		"nanosleep": {0, 0, normal}, "clock_nanosleep": {0, 0, normal}, "futex": {0, 0, normal},
		"futex-timeout": {-1, unix.ETIMEDOUT, normal}, "sigsuspend": {-1, unix.EINTR, normal},
		"pause": {-1, unix.EINTR, normal}, "sigtimedwait": {int(unix.SIGUSR1), 0, normal},
		"sigtimedwait-timeout": {-1, unix.EAGAIN, anew}, "epoll": {1, 0, normal},
		"epoll-handler": {-1, unix.EINTR, normal}, "semop": {0, 0, normal},
		"accept":   {1, 0, normal},
		"old-read": {1, 0, normal}, "old-nanosleep": {0, 0, normal}, "old-poll": {0, 0, normal},
		"old-clock_nanosleep": {0, 0, normal},
		"accept-timeout":      {1, 0, normal}, "read-timeout": {1, 0, normal},
		"wait": {1, 0, normal},
	}
	path := program(t, "blocked")
	var wg sync.WaitGroup
	places := make(chan bool, 9)
	for how, tc := range tests {
		for _, mode := range []string{"stop", "syscalls"} {
			wg.Go(func() {
				places <- true
				defer func() { <-places }()
				t.Run(how+"/"+mode, func(t *testing.T) { testBlocked(t, path, how, mode, tc) })
			})
		}
	}
	wg.Wait()
}

// skipOld skips a test of a way that begins with old, where the kernel does not run such calls.
func skipOld(t *testing.T, how string) {
	t.Helper()
	if !strings.HasPrefix(how, "old-") {
		return
	}
	if err := exec.CommandContext(t.Context(), program(t, "blocked"), "old-none",
		"0").Run(); err != nil {
		t.Skipf("the kernel has no int $0x80: %v", err)
	}
}

func testBlocked(t *testing.T, path, how, mode string, want blockedCase) {
	skipOld(t, how)
	const most = 8 // on a busy machine everything takes longer: then try again, slower
	for slower := 1; ; slower *= 2 {
		began := time.Now()
		c := start(t, path, how, itoa(500*slower))
		g, err := findGadgetsOf(c.pid)
		ended := err != nil
		for i := 0; i < 2 && !ended; i++ {
			time.Sleep(time.Duration(slower) * 100 * time.Millisecond)
			tr, err := tryAttach(t.Context(), c.pid,
				Options{Gadgets: g, StopTimeout: 10 * time.Second})
			if ended = errors.Is(err, ErrGone); ended {
				break // it was faster than we
			}
			if err != nil {
				t.Fatal(err)
			}
			if mode != "stop" {
				r, err := tr.Syscalls(t.Context(), tr.Threads()[0], Call{Nr: unix.SYS_GETPID})
				if err != nil || len(r) != 1 || r[0].Value != uint64(c.pid) {
					t.Errorf("results %+v, %v", r, err)
				}
			}
			detach(t, tr)
		}
		// not when the call ended anyway
		between := time.Since(began) < time.Duration(slower)*450*time.Millisecond
		var got blockedCase
		var errno int
		line := c.Line()
		if _, err := fmt.Sscan(line, &got.ret, &errno, &got.millis); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		got.errno = unix.Errno(errno)
		if code := c.Wait(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		atLeast := 0
		switch how {
		case "poll", "ppoll", "select", "nanosleep", "clock_nanosleep", "futex-timeout",
			"sigtimedwait-timeout":
			atLeast = slower*want.millis - 25
		}
		late := ended || !between || got.millis > slower*(want.millis+150)
		if late && slower < most {
			continue
		}
		if got.ret != want.ret || got.errno != want.errno || got.millis < atLeast || late {
			t.Errorf("returned %d, %v after %d ms, want %d, %v after %d", got.ret, got.errno,
				got.millis, want.ret, want.errno, slower*want.millis)
		}
		return
	}
}
