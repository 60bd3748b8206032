package tracer

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
)

// TestKernelSide works on a process for which threads of the kernel's own work (io_uring): they are
// not among its threads, and what they are at is not disturbed.
func TestKernelSide(t *testing.T) {
	for name, more := range map[string][]string{"workers": nil, "polling": {"sqpoll"}} {
		t.Run(name, func(t *testing.T) {
			fifo := filepath.Join(t.TempDir(), "fifo")
			if err := unix.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(program(t, "uring"), append([]string{fifo}, more...)...)
			c := &child{targettest.Start(t, cmd), t, cmd.Process.Pid}
			if got := c.Line(); got == "none" {
				t.Skip("this kernel lets nobody use io_uring")
			}
			targettest.Await(t, "a thread of the kernel's", func() bool {
				return len(must(tasks(c.pid))) > 1
			})
			g := gadgets(t, c.pid)
			for range 100 {
				if err := visit(t, c.pid, g); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Run(t.Context(), c.pid, Options{}, func(tr *Tracee) error {
				if n := len(tr.Threads()); n != 1 {
					t.Errorf("%d threads stand still", n)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			f, err := os.OpenFile(fifo, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if got := c.Line(); got != "0" {
				t.Errorf("opened with %s", got)
			}
		})
	}
}
