package hook

import (
	"os"
	"path/filepath"
	"strings"
)

// A transactional update runs in a chroot, on a snapshot that is booted later; the processes belong
// to the running system, whose root directory is that of the machine's first process. The chroot
// shares its proc, and next to nothing of /var and /run. Files for the running system therefore
// have to be reached through that process.

// setHost finds the running system.
func (r *Request) setHost() {
	r.host = r.Root
	if r.Host != "" {
		r.host = r.Host
	} else if r.Transactional && r.Root == "/" && r.otherRoot() {
		r.host = filepath.Join(r.Proc, "1", "root")
		r.hidden = r.host
	}
}

// hostDirs are the places in the running system that a transactional update reads and writes.
var hostDirs = []string{"etc", "run", "usr/lib64", "var"}

// checkHost rejects a running system whose directories are not where this process would look below
// its root.
func (r *Request) checkHost() error {
	if r.host == r.Root {
		return nil
	}
	for _, dir := range hostDirs {
		if err := plain(r.host, dir); err != nil {
			return err
		}
	}
	return nil
}

// hostPath returns this process's path of a file in the running system.
func (r *Request) hostPath(elements ...string) string {
	return filepath.Join(append([]string{r.host}, elements...)...)
}

// seen returns the path by which the running system's processes see a file that has another path
// here.
func (r *Request) seen(path string) string {
	if rest, ok := strings.CutPrefix(path, r.hidden+"/"); ok && r.hidden != "" {
		return "/" + rest
	}
	return path
}

// seenElsewhere is seen, or "" if the path is the same.
func (r *Request) seenElsewhere(path string) string {
	if other := r.seen(path); other != path {
		return other
	}
	return ""
}

// otherRoot reports whether this process has another root directory than the machine's first
// process, as in a chroot with the host's proc. It returns false if it may not find out.
func (r *Request) otherRoot() bool {
	return !sameFile(filepath.Join(r.Proc, "1", "root"), filepath.Join(r.Proc, "self", "root"))
}

// sameFile reports whether two names refer to one file. If that cannot be determined, it returns
// true.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return true
	}
	y, err := os.Stat(b)
	return err != nil || os.SameFile(x, y)
}
