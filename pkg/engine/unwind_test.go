package engine_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// TestUnwind: exceptions and cancellation pass through functions that were patched by way of
// libpulp as through any other. What the native engine's let through is in package native, which
// has the program.
func TestUnwind(t *testing.T) {
	if _, err := exec.LookPath("g++"); err != nil {
		t.Skip("no g++: exceptions need it, and nothing else of lpbuild does")
	}
	const from = "../../native/testdata/" // from where gcc's sources are
	lib := gcc(t, "unwind/libtarget.so", from+"library.c", "-shared", "-fPIC", "-fexceptions",
		"-fpatchable-function-entry=16,14", "-fcf-protection=none", "-Wl,--hash-style=both",
		"-Wl,--build-id", "-Wl,-soname,libtarget.so")
	plain := gcc(t, "unwind/plain.o", from+"handlers.c", "-c", "-DNAME=plain")
	exceptions := gcc(t, "unwind/exceptions.o", from+"handlers.c", "-c", "-DNAME=exceptions",
		"-fexceptions")
	program := gcc(t, "unwind/program", from+"unwind.cc", plain, exceptions, lib, "-Wl,-rpath,"+
		filepath.Dir(lib), "-lstdc++", "-pthread")
	path, container := filepath.Join(builds.Dir, "libtarget_livepatch1.so"),
		gcc(t, "unwind/patch.so", from+"patch.c", "-shared", "-fPIC", "-Wl,--build-id")
	must(t, packOnce(container, path, lib, ulp.PackOptions{}, []string{"calls:calls_lp"}))
	for name, preload := range flavours(t) {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), "LD_PRELOAD="+preload)
		c := run(t, cmd)
		for _, patched := range []bool{false, true} {
			if patched {
				c.is(engine.Changed, nil,
					c.one(engine.Options{Containers: read(t, path),
						Engines: []engine.Engine{&engine.Libpulp{}}}))
			}
			for how, want := range map[string]string{
				"pass": "outside, caught 7", "below": "inside", "above": "caught 8",
				"meanwhile": "inside called, caught 9",
				"cancel":    "inner exceptions middle plain top",
				"busy":      "inner exceptions middle plain top",
				"exit":      "inner exceptions middle plain top",
			} {
				if _, err := io.WriteString(c.In, how+"\n"); err != nil {
					t.Fatal(err)
				}
				if got := c.Line(); got != want {
					t.Errorf("%s, patched %t: %s: %q, want %q", name, patched, how, got, want)
				}
			}
		}
	}
}
