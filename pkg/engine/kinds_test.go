package engine_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine"
)

// Kinds of processes, and what becomes of them by default.

// TestStatic has a static program, which has no library that could be patched: it is of no concern,
// unless it was named.
func TestStatic(t *testing.T) {
	c := run(t, exec.Command(gcc(t, "kind_static", "program.c", "-static", "-pthread",
		sources+"library.c")))
	c.alone("kind_static", engine.ErrNotLoaded)
}

// Test32Bit has a program of 32 bits: no live patch is for one.
func Test32Bit(t *testing.T) {
	source := filepath.Join(t.TempDir(), "pause.S") // no C library of 32 bits is needed
	text := ".globl _start\n_start: mov $4, %eax; mov $1, %ebx; mov $nl, %ecx; mov $1, %edx; int " +
		"$0x80\n" +
		"rest: mov $29, %eax; int $0x80; jmp rest\n.data\nnl: .byte 10\n.section " +
		".note.GNU-stack, \"\", @progbits\n"
	must(t, os.WriteFile(source, []byte(text), 0o600))
	path, err := builds.TryGCC("kind_32", "-m32", "-nostdlib", "-static", source)
	if err != nil {
		t.Skipf("gcc makes no program of 32 bits here: %v", err)
	}
	c := run(t, exec.Command(path))
	c.alone("kind_32", engine.ErrNoEngine)
	r := c.one(engine.Options{Containers: read(t, container(t, "a", 10)), Engines: auto()})
	if !strings.Contains(r.Err.Error(), "32-bit") {
		t.Errorf("%v", r.Err)
	}
}

// TestLibrary32Bit has programs of 32 bits with a library of the target's name: they are reported
// with the reason, as others of which no container is for the build, also by a run over all; and
// status knows why nothing can patch them.
func TestLibrary32Bit(t *testing.T) {
	source := "../../testdata/bits32.c"
	program, err := builds.TryGCC("kind_lib32", "-m32", "-nostdlib", "-static", sources+source)
	if err != nil {
		t.Skipf("gcc makes no program of 32 bits here: %v", err)
	}
	lib := gcc(t, "bits32/libtarget.so", source, "-DLIBRARY", "-m32", "-nostdlib", "-shared",
		"-fPIC", "-Wl,-soname,libtarget.so")
	other := gcc(t, "bits32/libother.so", source, "-DLIBRARY", "-m32", "-nostdlib", "-shared",
		"-fPIC", "-Wl,-soname,libother.so")
	c := run(t, exec.Command(program, lib))
	run(t, exec.Command(program, other)) // is of no concern
	name := engine.NewWildcard("kind_lib32")
	all := engine.Selector{Name: &name}
	ten := read(t, container(t, "a", 10))
	for _, o := range []engine.Options{{Containers: ten}, {Containers: ten, DryRun: true},
		{Containers: ten, Revert: true}, {Containers: ten, Selector: c.selector()}} {
		if o.Engines = auto(); o.Selector.PID == 0 {
			o.Selector = all
		}
		reports, sum, err := runAll(t, o)
		must(t, err)
		r := reports[c.pid]
		// other processes of the machine, of which less is known
		sum.Denied, sum.DeniedNames = 0, nil
		if r == nil || r.Status != engine.Skipped || !errors.Is(r.Err, engine.ErrNoEngine) ||
			!strings.Contains(r.Err.Error(), "32-bit") || r.Left ||
			!r.Foreign || !cmp.Equal(sum, engine.Summary{Skipped: 1, Foreign: 1}) {
			t.Errorf("%+v, %+v", r, sum)
		}
	}
	// a run of libpulp's alone is about processes that have it
	pulp := []engine.Engine{&engine.Libpulp{}}
	if _, sum, err := runAll(t, engine.Options{Containers: ten, Selector: all,
		Engines: pulp}); err != nil || sum.Processes() != 0 {
		t.Errorf("%+v, %v", sum, err)
	}
	list, _, err := engine.Look(t.Context(), engine.SurveyOptions{Selector: all, Engines: auto(),
		WithoutEngine: true})
	if err != nil || len(list) != 2 || list[0].Engine != "" ||
		!errors.Is(list[0].Disabled, engine.ErrNoEngine) {
		t.Errorf("%+v, %v", list, err)
	}
}

// alone wants a process to be counted nowhere, and to be skipped for a reason if it is named.
func (c *child) alone(name string, want error) {
	c.t.Helper()
	w := engine.NewWildcard(name)
	cs := read(c.t, container(c.t, "a", 10))
	reports, sum, err := runAll(c.t, engine.Options{Selector: engine.Selector{Name: &w},
		Containers: cs, Engines: auto()})
	if err != nil || len(reports) != 0 || sum.Processes() != 0 {
		c.t.Errorf("%+v, %v", sum, err)
	}
	list, _, err := engine.Look(c.t.Context(),
		engine.SurveyOptions{Selector: engine.Selector{Name: &w}, Engines: auto()})
	if err != nil || len(list) != 0 {
		c.t.Errorf("listed: %+v, %v", list, err)
	}
	c.is(engine.Skipped, want, c.one(engine.Options{Containers: cs, Engines: auto()}))
}

// startIn starts the program in namespaces of its own, with a shell's commands before it.
func startIn(t *testing.T, preload, name string, flags uintptr, commands string) *child {
	t.Helper()
	targettest.NeedNamespaces(t, flags)
	program := gcc(t, "program/"+name, "program.c", "-pthread", library(t, "a"))
	cmd := exec.Command("/bin/sh", "-c", commands+" export LD_LIBRARY_PATH="+
		filepath.Dir(library(t, "a"))+" LD_PRELOAD="+preload+"; exec "+program)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	c := run(t, cmd)
	c.says(unpatched)
	return c
}

// TestInit patches the first process of a PID namespace, which no signal reaches that it does not
// handle, as any other. That of the machine is no different.
func TestInit(t *testing.T) {
	ten := read(t, container(t, "a", 10))
	for name, preload := range map[string]string{"native": "", "libpulp": standIn(t)} {
		c := startIn(t, preload, "kind_init", syscall.CLONE_NEWPID|syscall.CLONE_NEWNS, "")
		r := c.one(engine.Options{Containers: ten, Engines: auto()})
		if c.is(engine.Changed, nil, r); r.Engine != name {
			t.Errorf("by %q", r.Engine)
		}
		c.says(tens10)
		c.is(engine.Changed, nil,
			c.one(engine.Options{Containers: ten, Revert: true, Engines: auto()}))
		c.says(unpatched)
	}
}

// TestOtherMounts has processes that do not see the container's file. The native engine does not
// need that; libpulp.so does, and what it says is the verdict.
func TestOtherMounts(t *testing.T) {
	dir := filepath.Join(builds.Dir, "unseen")
	must(t, os.MkdirAll(dir, 0o755))
	copyFile(t, container(t, "a", 10), filepath.Join(dir, "lp.so"))
	cs := read(t, filepath.Join(dir, "lp.so"))
	hide := "mount --make-rprivate / && mount -t tmpfs none " + dir + " || exit 1;"
	c := startIn(t, "", "kind_mounts", syscall.CLONE_NEWNS, hide)
	c.is(engine.Changed, nil, c.one(engine.Options{Containers: cs, Engines: auto()}))
	c.says(tens10)
	c = startIn(t, standIn(t), "kind_mounts", syscall.CLONE_NEWNS, hide)
	r := c.one(engine.Options{Containers: cs, Engines: auto()})
	if r.Status != engine.Failed || r.Engine != "libpulp" {
		t.Errorf("%+v", r)
	}
	t.Log(r.Results[0].Err)
	c.says(unpatched)
	c.unmapped()
}

// TestDispatched has a program that handles system calls itself: it is skipped for that, and
// counted as left, since it has the library.
func TestDispatched(t *testing.T) {
	cmd := exec.Command(gcc(t, "program/kind_dispatched", "../../testdata/dispatched.c",
		library(t, "a")))
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(library(t, "a")))
	c := run(t, cmd)
	r := c.one(engine.Options{Containers: read(t, container(t, "a", 10)), Engines: auto()})
	if r.Status == engine.Changed {
		t.Skip("the kernel does not tell that a program handles system calls itself: that needs " +
			"Linux 6.4")
	}
	c.is(engine.Skipped, engine.ErrNoEngine, r)
	if !r.Left || !strings.Contains(r.Results[0].Err.Error(), "Wine") {
		t.Errorf("%+v", r)
	}
}
