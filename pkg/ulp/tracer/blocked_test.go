package tracer

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestBlocked stops threads twice inside a system call, with and without sending them elsewhere. The call must end as if
// nothing had happened, after half a second; where the kernel cannot go on with the time that is left, somewhat later.
func TestBlocked(t *testing.T) {
	const (
		normal = 500
		anew   = 700 // a timeout that started again at the second stop, after 200 ms
	)
	tests := map[string]struct {
		ret    int
		errno  unix.Errno
		millis int
	}{
		"read": {1, 0, normal}, "poll": {0, 0, normal}, "ppoll": {0, 0, normal}, "select": {0, 0, normal},
		"nanosleep": {0, 0, normal}, "clock_nanosleep": {0, 0, normal}, "futex": {0, 0, normal},
		"futex-timeout": {-1, unix.ETIMEDOUT, normal}, "sigsuspend": {-1, unix.EINTR, normal},
		"pause": {-1, unix.EINTR, normal}, "sigtimedwait": {int(unix.SIGUSR1), 0, normal},
		"sigtimedwait-timeout": {-1, unix.EAGAIN, anew}, "epoll": {1, 0, normal},
		"epoll-handler": {-1, unix.EINTR, normal}, "semop": {0, 0, normal}, "accept": {1, 0, normal},
		"accept-timeout": {1, 0, normal}, "wait": {1, 0, normal},
	}
	path := program(t, "blocked")
	for how, tc := range tests {
		for _, mode := range []string{"stop", "syscalls"} {
			t.Run(how+"/"+mode, func(t *testing.T) {
				t.Parallel()
				c := start(t, path, how)
				g := gadgets(t, c.pid)
				for range 2 {
					time.Sleep(100 * time.Millisecond)
					tr := attach(t, c.pid, Options{Gadgets: g})
					if mode != "stop" {
						r, err := tr.Syscalls(t.Context(), tr.Threads()[0], Call{Nr: unix.SYS_GETPID})
						if err != nil || len(r) != 1 || r[0].Value != uint64(c.pid) {
							t.Errorf("results %+v, %v", r, err)
						}
					}
					detach(t, tr)
				}
				var ret, errno, millis int
				line := c.line()
				if _, err := fmt.Sscan(line, &ret, &errno, &millis); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				if ret != tc.ret || unix.Errno(errno) != tc.errno || millis < tc.millis-25 || millis > tc.millis+150 {
					t.Errorf("returned %d, %v after %d ms, want %d, %v after %d", ret, unix.Errno(errno), millis, tc.ret,
						tc.errno, tc.millis)
				}
				if code := c.wait(); code != 0 {
					t.Errorf("exit code %d", code)
				}
			})
		}
	}
}
