package tracer

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
)

// TestDispatched: a thread whose system calls are a SIGSYS to the program is not sent anywhere,
// since it would not find its way back if this process were killed. Others are, and where calls
// from the gadgets' places are allowed.
func TestDispatched(t *testing.T) {
	for how, want := range map[string][]error{"alone": {ErrDispatched},
		"beside": {ErrDispatched, nil}, "allowed": {nil}} {
		c := startDispatched(t, how)
		tr := attach(t, c.pid, Options{Gadgets: gadgets(t, c.pid)})
		if tr.Do(func() error {
			return ptracePointer(getDispatch, c.pid, unsafe.Sizeof(dispatchConfig{}),
				unsafe.Pointer(&dispatchConfig{}))
		}) != nil {
			t.Skip("the kernel does not tell where system calls go: that needs Linux 6.4")
		}
		for i, th := range tr.Threads() {
			if _, err := tr.Syscalls(t.Context(), th,
				Call{Nr: unix.SYS_GETPID}); !errors.Is(err, want[i]) {
				t.Errorf("%s, thread %d: %v, want %v", how, i, err, want[i])
			}
			_, err := tr.Batch(t.Context(), th, []byte("x\x00"), memoryFile)
			if !errors.Is(err, want[i]) && (want[i] != nil || !errors.Is(err, ErrNoBatch)) {
				// it may be sleeping at this moment
				t.Errorf("%s, thread %d: batch: %v, want %v", how, i, err, want[i])
			}
		}
		detach(t, tr)
		c.goesOn()
		said, err := startEngine(c, atResume, "syscalls").Output()
		if want[0] == nil != targettest.Killed(err) {
			t.Errorf("%s: %v: %s", how, err, said)
		}
		c.goesOn()
	}
}

// startDispatched starts dispatched.c.
func startDispatched(t *testing.T, how string) *checker {
	t.Helper()
	path := filepath.Join(t.TempDir(), "counters")
	if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &checker{child: start(t, program(t, "dispatched"), path, how), threads: 1}
	if how == "beside" {
		c.threads = 2
	}
	c.readCounters(path)
	return c
}
