package native

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// uprobe sets a probe of the kernel's on a place in a file, in one process, until the function that
// is returned is called.
func uprobe(t *testing.T, pid int, file string, offset uint64) (remove func()) {
	t.Helper()
	text, err := os.ReadFile("/sys/bus/event_source/devices/uprobe/type")
	if err != nil {
		t.Skipf("this kernel has no uprobes: %v", err)
	}
	kind, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	path, err := unix.BytePtrFromString(file)
	if err != nil {
		t.Fatal(err)
	}
	attr := unix.PerfEventAttr{Type: uint32(kind), Ext1: uint64(uintptr(unsafe.Pointer(path))),
		Ext2: offset}
	attr.Size = uint32(unsafe.Sizeof(attr))
	fd, err := unix.PerfEventOpen(&attr, pid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	runtime.KeepAlive(path)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		t.Skipf("the kernel lets this user set no probes: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = unix.Close(fd) }
}

// TestProbe sets a probe where a detour would come, and in the detour itself: by the kernel, and as
// a debugger does. Nothing is changed then, and the reason is that; without it everything goes on.
func TestProbe(t *testing.T) {
	for name, lib := range map[string]string{"nops": library(t, nopFlags),
		"code": library(t, "-O0", "-fcf-protection=none")} {
		code := Options{Entries: symtab.EntriesAny}
		p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{Force: true}, "testdata/patch.c")
		c := start(t, target(t, lib), 0)
		is := func(ch Change, what string) {
			t.Helper()
			before := c.snapshot()
			pl, err := newPlan(t.Context(), look(t, c.pid), ch, code)
			if err == nil {
				_, err = pl.Run(t.Context())
			}
			if !errors.Is(err, ErrProbe) || c.snapshot() != before {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		at := addressOf(t, c, "first")
		l := libraryAt(t, c, at)
		remove := uprobe(t, c.pid, lib, at-l)
		if b := peek(t, c.pid, at); b != int3 {
			t.Fatalf("%s: the kernel wrote %#x", name, b)
		}
		is(Change{Apply: []*Patch{p}}, "a uprobe")
		c.says("all", original)
		remove()
		c.apply(code, p)
		c.says("all", "2 1 5 7 original")
		had := peek(t, c.pid, at)
		c.poke(at, []byte{int3})
		is(Change{Revert: everyOne}, "a breakpoint in the detour")
		c.poke(at, []byte{had})
		c.revert()
		had = peek(t, c.pid, at+1)
		c.poke(at+1, []byte{int3})
		is(Change{Apply: []*Patch{p}}, "a breakpoint behind the first byte")
		c.poke(at+1, []byte{had})
		c.apply(code, p)
	}
}

// libraryAt returns where the library of a function is loaded.
func libraryAt(t *testing.T, c *child, at uint64) uint64 {
	t.Helper()
	for _, l := range opened(t, c.pid).libs {
		if l.Contains(at, 1) {
			return l.Bias
		}
	}
	t.Fatal("no library")
	return 0
}

// peek reads a byte of a process.
func peek(t *testing.T, pid int, at uint64) byte {
	t.Helper()
	f, err := os.Open("/proc/" + itoa(pid) + "/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := []byte{0}
	if _, err := f.ReadAt(b, int64(at)); err != nil {
		t.Fatal(err)
	}
	return b[0]
}

// TestNotProbed: linkers pad with breakpoints, which are no probes.
func TestNotProbed(t *testing.T) {
	for name, want := range map[string]bool{"padding": false, "NOPs": true, "code": true} {
		window := bytes.Repeat([]byte{0x90}, siteWindow)
		switch name {
		case "padding":
			copy(window, bytes.Repeat([]byte{int3}, beforeLen))
		case "NOPs":
			window[3] = int3
		case "code":
			window[beforeLen+1] = int3
		}
		if err := notProbed(ErrEntry, window); errors.Is(err, ErrProbe) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
