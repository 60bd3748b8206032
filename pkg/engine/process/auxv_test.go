package process

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/targettest"
)

// TestAuxvInExec reads the vector of a process that executes programs all the time, which the
// kernel is often just writing.
func TestAuxvInExec(t *testing.T) {
	script := filepath.Join(t.TempDir(), "again")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec \"$0\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := targettest.Start(t, exec.Command(script))
	d, err := openDir(procRoot, p.PID)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	seen := map[uint64]bool{}
	for began := time.Now(); time.Since(began) < time.Second; {
		a, err := d.auxv()
		if err != nil {
			t.Fatal(err)
		}
		seen[a.base] = true
	}
	if len(seen) < 10 {
		t.Errorf("%d programs were seen", len(seen))
	}
}
