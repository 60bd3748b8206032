package native

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// TestSharedCode: a detour in code that is mapped with MAP_SHARED would be one in the file, for all
// who map that.
func TestSharedCode(t *testing.T) {
	for _, flags := range [][]string{{nopFlags}, nil} {
		lib := library(t, flags...)
		whole, err := os.ReadFile(lib)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		own := filepath.Join(dir, "libtarget.so")
		if err := os.WriteFile(own, whole, 0o700); err != nil {
			t.Fatal(err)
		}
		p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{Entries: symtab.EntriesAny},
			"testdata/patch.c")
		cmd := exec.Command(gcc(t, "sharedcode", "testdata/sharedcode.c", lib))
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+dir)
		c := &child{Process: targettest.Start(t, cmd), t: t, pid: cmd.Process.Pid}
		if got := c.Line(); got != "ready" {
			t.Fatalf("%q instead of ready", got)
		}
		_, err = do(context.Background(), look(t, c.pid), Change{Apply: []*Patch{p}}, Options{})
		if !errors.Is(err, ErrEntry) {
			t.Errorf("%v: %v", flags, err)
		}
		c.says("first", "1")
		if now, err := os.ReadFile(own); err != nil || !bytes.Equal(now, whole) {
			t.Errorf("%v: the file is not as it was: %v", flags, err)
		}
	}
}
