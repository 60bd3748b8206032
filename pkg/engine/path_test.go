package engine

import (
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// TestPath goes through where a process may have its root.
func TestPath(t *testing.T) {
	const path = "/srv/guest/usr/lib64/lp.so"
	for _, tc := range []struct{ root, prefix, want string }{
		{"/", "", path}, {"", "", path}, {"/", "/mnt", "/mnt" + path},
		{"/proc", "", "/1/root/" + path}, {"/proc", "/x", "/1/root//x" + path},
		{"/srv/guest", "", "/usr/lib64/lp.so"}, {"/srv/gue", "", path},
		{"/srv/guest", "/p", "/p" + path}, {"/elsewhere", "", path},
	} {
		target := &pulpTarget{b: &Libpulp{Prefix: tc.prefix},
			v: &View{Process: &process.Process{Root: tc.root}}}
		if got := target.path(&Container{Path: path}); got != tc.want {
			t.Errorf("root %q, prefix %q: %q, want %q", tc.root, tc.prefix, got, tc.want)
		}
	}
}

// TestPause wants pauses to grow, to be bounded, and not to be the same.
func TestPause(t *testing.T) {
	for attempt := 1; attempt < 100; attempt++ {
		if d := pause(attempt); d < min(longestPause, firstPause<<min(attempt-1, 8))/2 ||
			d > longestPause {
			t.Errorf("attempt %d: %v", attempt, d)
		}
	}
}
