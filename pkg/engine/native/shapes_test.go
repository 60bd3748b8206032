package native

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// shapes are the functions of testdata/shapes.S and shapes.cc.
var shapes = strings.Fields("branch branches near loop skip tail pointer call call_first " +
	"call_pointer call_argument call_field short zero rep memory compare throws virtual " +
	"recursion switch")

// shaped starts a process that calls them in threads, and makes the live patch that replaces them
// all.
func shaped(t *testing.T, threads int, flags ...string) (*child, *Patch) {
	t.Helper()
	all := append([]string{"-x", "assembler-with-cpp", "testdata/shapes.S", "-x", "c++",
		"testdata/shapes.cc", "-shared", "-fPIC", "-O2", "-Wl,--build-id",
		"-Wl,-soname,libtarget.so", "-Wl,-Bsymbolic", "-lstdc++"}, flags...)
	lib := gcc(t, "libtarget.so", all...)
	program := gcc(t, "shaped", "-x", "c++", "testdata/shaped.cc", "-x", "none", lib, "-O1",
		"-pthread", "-lstdc++", "-Wl,-rpath,"+filepath.Dir(lib))
	var lines strings.Builder
	for _, name := range shapes {
		fmt.Fprintf(&lines, "s_%s:shape_lp\n", name)
	}
	return start(t, program, threads), pack(t, lib, lines.String(),
		ulp.PackOptions{Force: true, Entries: symtab.EntriesAny}, "testdata/shape_lp.c")
}

// TestShapes applies and reverts live patches of functions of each shape, while threads run through
// them: every result is right.
func TestShapes(t *testing.T) {
	for name, flags := range map[string][]string{"plain": {"-fcf-protection=none"},
		"landing": {"-fcf-protection=branch", "-DLANDING"}} {
		t.Run(name, func(t *testing.T) {
			c, p := shaped(t, 2, flags...)
			as := func(original, replaced int) {
				c.says("check", fmt.Sprintf("%d original, %d replaced, 0 wrong", original,
					replaced))
			}
			as(len(shapes), 0)
			before := c.snapshot()
			for range 20 {
				c.apply(Options{}, p)
				as(0, len(shapes))
				c.cleared(before)
				as(len(shapes), 0)
			}
			c.right()
		})
	}
}

// TestShapesKilled kills the engine between any two writes: detours are there that lead on to the
// functions, by the instructions that they replaced.
func TestShapesKilled(t *testing.T) {
	for name, flags := range map[string][]string{"plain": {"-fcf-protection=none"},
		"landing": {"-fcf-protection=branch", "-DLANDING"}} {
		t.Run(name, func(t *testing.T) {
			c, p := shaped(t, 1, flags...)
			path, before, steps := file(t, p), c.snapshot(), 0
			c.apply(Options{step: func(string) { steps++ }}, p)
			c.cleared(before)
			for n := range steps {
				_ = startEngine(t, c.pid, n, path).Run()
				if got := c.Ask("check"); !strings.Contains(got, " 0 wrong") ||
					!strings.HasPrefix(got, "0 original") &&
						!strings.HasPrefix(got, fmt.Sprint(len(shapes))) {
					t.Fatalf("killed at step %d of %d: %q", n, steps, got)
				}
				c.cleared(before)
			}
			c.right()
		})
	}
}
