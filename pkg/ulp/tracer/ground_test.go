package tracer

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// TestForeignStack calls functions in a thread whose stack ends in the middle of other data. The target checks those.
func TestForeignStack(t *testing.T) {
	c := startChecker(t, 2, "coroutine")
	c.goesOn() // it is ready before it is on that stack
	g := gadgets(t, c.pid)
	for range 50 {
		tr := attach(t, c.pid, Options{Gadgets: g})
		if tr.Pick() != tr.Threads()[1] {
			t.Error("the thread on the foreign stack was picked")
		}
		for _, th := range tr.Threads() {
			if v, err := tr.Call(t.Context(), th, c.sum, 1, 2, 3, 4, 5, 6); v != 91 || err != nil {
				t.Fatal(v, err)
			}
		}
		detach(t, tr)
	}
	c.goesOn()
}

// TestNoRoom calls a function where the stack may not grow any more, and in a thread with a small one.
func TestNoRoom(t *testing.T) {
	c := start(t, program(t, "life"), "smallstack")
	g := gadgets(t, c.pid)
	tr := attach(t, c.pid, Options{Gadgets: g})
	for i, th := range tr.Threads() {
		_, err := tr.Call(t.Context(), th, 4096) // never gets there
		if !errors.Is(err, ErrStack) {
			t.Errorf("thread %d: %v", i, err)
		}
	}
	detach(t, tr)
	c.In.Close()
	if got, code := c.Line(), c.Wait(); got != "whole" || code != 0 {
		t.Errorf("%q, exit code %d", got, code)
	}
}

// TestMapping compares both ways to find a mapping.
func TestMapping(t *testing.T) {
	c := startChecker(t, 2)
	tr := attach(t, c.pid, Options{})
	for _, addr := range []uint64{0, tr.Threads()[0].PC(), tr.Threads()[0].SP(), tr.Threads()[1].SP(), c.sum, 1 << 40} {
		r, err := tr.mapping(addr)
		maps, openErr := os.ReadFile(taskPath(c.pid, c.pid, "maps"))
		if openErr != nil {
			t.Fatal(openErr)
		}
		want, path, wantErr := findMapping(strings.NewReader(string(maps)), addr)
		if r != want || errors.Is(err, ErrStack) != errors.Is(wantErr, ErrStack) {
			t.Errorf("%#x: %x, %v; want %x, %v", addr, r, err, want, wantErr)
		}
		wantStack := path == "[stack]" && want.Start <= addr
		if r, stack := tr.initialStack(addr); stack != wantStack || stack && r != want {
			t.Errorf("%#x: initial stack %v, %x; want %v, %x", addr, stack, r, wantStack, want)
		}
	}
	if _, _, err := findMapping(strings.NewReader("no such line\n"), 1); err == nil {
		t.Error("nonsense was read")
	}
}
