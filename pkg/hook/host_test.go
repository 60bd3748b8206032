package hook

import (
	"os"
	"path/filepath"
	"testing"
)

// TestHost finds the running system by the root directory of process 1, if this is a transactional
// update in another root directory, and knows where its processes see files that are reached that
// way.
func TestHost(t *testing.T) {
	proc := tree(t, map[string]string{"1/": "", "self/": "", "host/": "", "chroot/": ""})
	link := func(name, target string) {
		_ = os.Remove(filepath.Join(proc, name))
		check(t, os.Symlink(filepath.Join(proc, target), filepath.Join(proc, name)))
	}
	link("1/root", "host")
	link("self/root", "chroot")
	outside := filepath.Join(proc, "1/root")
	for name, tc := range map[string]struct {
		r    Request
		want string
	}{
		"an update":                 {Request{Root: "/", Transactional: true}, outside},
		"a transaction in a chroot": {Request{Root: "/"}, "/"},
		"an update of another root": {Request{Root: "/mnt", Transactional: true}, "/mnt"},
		"at the place that the test gives": {Request{Root: "/", Transactional: true,
			Host: "/srv"}, "/srv"},
		"an update without process 1 in proc": {Request{Root: "/", Transactional: true,
			Proc: "/nowhere"}, "/"},
	} {
		if tc.r.Proc == "" {
			tc.r.Proc = proc
		}
		if tc.r.setHost(); tc.r.host != tc.want {
			t.Errorf("%s: the running system is %s, want %s", name, tc.r.host, tc.want)
		}
		inside := tc.r.hostPath("var/livepatches")
		want := inside
		if tc.want == outside {
			want = "/var/livepatches"
		}
		if got := tc.r.seen(inside); got != want {
			t.Errorf("%s: processes see %s, want %s", name, got, want)
		}
		if got := tc.r.seen("/usr/lib64/p"); got != "/usr/lib64/p" ||
			tc.r.seenElsewhere("/usr/lib64/p") != "" {
			t.Errorf("%s: processes see %s", name, got)
		}
	}
	link("1/root", "chroot") // an update outside a chroot
	r := Request{Root: "/", Transactional: true, Proc: proc}
	if r.setHost(); r.host != "/" {
		t.Errorf("the running system is %s", r.host)
	}
}
