package engine_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// TestSandboxed: a process whose filter forbids what patching takes is left, with the call's name
// and the way out, and does not count as failed; where filters are suspended, it is patched, and
// reverted. It lives on.
func TestSandboxed(t *testing.T) {
	targettest.NeedFilters(t)
	t.Run("native", func(t *testing.T) {
		testSandboxed(t, "", onlyNative, []engine.Engine{&engine.Native{SuspendSeccomp: true}})
	})
	t.Run("libpulp", func(t *testing.T) {
		testSandboxed(t, standIn(t), []engine.Engine{&engine.Libpulp{}},
			[]engine.Engine{&engine.Libpulp{SuspendSeccomp: true}})
	})
}

func testSandboxed(t *testing.T, preload string, obeys, suspends []engine.Engine) {
	t.Helper()
	sandbox := gcc(t, "sandbox.so", "../../testdata/sandbox.c", "-shared", "-fPIC")
	c := start(t, "a", strings.TrimSuffix(sandbox+":"+preload, ":"), "sandboxed")
	ten := read(t, container(t, "a", 10))
	r := c.one(engine.Options{Containers: ten, Engines: obeys})
	if r.Status != engine.Skipped || !r.Left {
		t.Errorf("%v, left: %v", r.Status, r.Left)
	}
	var text string
	for _, err := range append([]error{r.Err}, stepErrors(r)...) {
		if err != nil {
			text += err.Error()
		}
		if err != nil && (!errors.Is(err, tracer.ErrSeccomp) ||
			!errors.Is(err, engine.ErrNoEngine)) {
			t.Error(err)
		}
	}
	for _, want := range []string{"the system call mmap", "--seccomp=suspend"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}
	c.says(unpatched)
	if r := c.one(engine.Options{Containers: ten, Engines: suspends}); r.Status != engine.Changed {
		t.Errorf("%v, %v, %v", r.Status, r.Err, stepErrors(r))
	}
	c.says(tens10)
	if r := c.one(engine.Options{Containers: ten, Revert: true,
		Engines: suspends}); r.Status != engine.Changed {
		t.Errorf("%v, %v, %v", r.Status, r.Err, stepErrors(r))
	}
	c.says(unpatched)
}

func stepErrors(r *engine.Report) (list []error) {
	for _, res := range r.Results {
		list = append(list, res.Err)
	}
	return list
}

// TestContainersFile: a process that may not execute memory but that of files gets the file that
// the container was read from.
func TestContainersFile(t *testing.T) {
	targettest.NeedFilters(t)
	targettest.NeedMappedFiles(t)
	c := start(t, "a", gcc(t, "execmem.so", "../../testdata/execmem.c", "-shared", "-fPIC"),
		"execmem")
	path := container(t, "a", 10)
	ten := read(t, path)
	if r := c.one(
		engine.Options{Containers: ten, Engines: onlyNative}); r.Status != engine.Changed {
		t.Errorf("%v, %v, %v", r.Status, r.Err, stepErrors(r))
	}
	c.says(tens10)
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", c.pid))
	if err != nil || !strings.Contains(string(maps), path) {
		t.Errorf("%s is not in\n%s%v", path, maps, err)
	}
	if r := c.one(engine.Options{Containers: ten, Revert: true,
		Engines: onlyNative}); r.Status != engine.Changed {
		t.Errorf("%v, %v, %v", r.Status, r.Err, stepErrors(r))
	}
	c.says(unpatched)
}
