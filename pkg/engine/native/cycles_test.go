package native

import (
	"os"
	"strconv"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// cycles is how often to apply and revert: 1,000 times, or LPBUILD_NATIVE_CYCLES times.
func cycles() int {
	if n, err := strconv.Atoi(os.Getenv("LPBUILD_NATIVE_CYCLES")); err == nil {
		return n
	}
	return 1000
}

// TestCycles applies and reverts again and again while all threads call the patched functions:
// every result is right.
func TestCycles(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, both+"text:text_lp\n", ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 4)
	for range cycles() {
		c.apply(Options{}, p)
		c.expect(2)
		c.expect(0)
		c.revert()
		c.expect(1)
		c.expect(0)
	}
	c.expect(1)
	c.right()
	for c.change(Change{}, Options{}); len(c.list()) > 0; c.change(Change{}, Options{}) {
	}
	c.says("all", original)
}

// TestThreads is the same with 64 threads, more often in one state than in the other.
func TestThreads(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c") // before the load begins
	c := start(t, target(t, lib), 64)
	for range 10 {
		c.apply(Options{}, p)
		c.expect(2)
		c.right()
		c.expect(0)
		c.revert()
		c.expect(1)
		c.right()
		c.expect(0)
	}
}
