package hook

import (
	"runtime"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine"
)

// TestEntries applies a live patch for a function without NOPs in %post and by the timer, without
// an option: its container asks for it.
func TestEntries(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the native engine is for x86_64")
	}
	const patched = "10 2 30 107"
	root := tree(t, map[string]string{at("1"): packed(t, "any.so")})
	for _, action := range []Action{Install, Reconcile} {
		c := startWith(t)
		c.says(without)
		r := c.request(root, action, "1")
		r.Engines = []engine.Engine{&engine.Native{}}
		if got := lines(t, r); action == Install &&
			got != "Processes patched: 1, Skipped: 0, Failed: 0." {
			t.Errorf("%v: %q", action, got)
		}
		c.says(patched)
	}
}
