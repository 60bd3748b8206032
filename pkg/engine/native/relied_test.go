package native

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// TestRelied: GCC lets a caller keep a pointer in a register that the function which it calls
// leaves alone. A replacement would not know of that.
func TestRelied(t *testing.T) {
	for flag, relies := range map[string]bool{"-fipa-ra": true, "-fno-ipa-ra": false} {
		lib := gcc(t, "libtarget.so", "-O2", flag, "-shared", "-fPIC", "-fcf-protection=none",
			"-Wl,--build-id", "-Wl,-soname,libtarget.so", "testdata/relied.c")
		program := gcc(t, "relied", "-DPROGRAM", "testdata/relied.c", lib, "-Wl,-rpath,"+
			filepath.Dir(lib))
		p := pack(t, lib, "callee:callee_lp\n",
			ulp.PackOptions{Force: true, Entries: symtab.EntriesAny}, "-DPATCH", "-O2",
			"testdata/relied.c")
		cmd := exec.Command(program)
		c := &child{Process: targettest.Start(t, cmd), t: t, pid: cmd.Process.Pid}
		if got := c.Line(); got != "ready" {
			t.Fatalf("%q instead of ready", got)
		}
		c.says("before", "6")
		_, err := do(context.Background(), look(t, c.pid), Change{Apply: []*Patch{p}}, Options{})
		if relies != (err != nil) || relies && (!errors.Is(err, ErrEntry) ||
			!strings.Contains(err.Error(), "relies on registers")) {
			t.Errorf("%s: %v", flag, err)
		}
		c.says("after", map[bool]string{true: "6", false: "7"}[relies])
	}
}
