package hook

import (
	"os"
	"path/filepath"
	"strings"
)

// A transactional update runs in a chroot, on a snapshot that is booted later; the processes are those of the running system,
// whose root folder is that of the first process of the machine. The chroot shares its proc, and of /var and /run next to
// nothing: what is for the running system has to be put there, by way of that process.

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

// hostFolders are where the running system has what a transactional update reads and writes there.
var hostFolders = []string{"etc", "run", "usr/lib64", "var"}

// checkHost refuses a running system whose folders this process would not find by way of its root.
func (r *Request) checkHost() error {
	if r.host == r.Root {
		return nil
	}
	for _, folder := range hostFolders {
		if err := plain(r.host, folder); err != nil {
			return err
		}
	}
	return nil
}

// hostPath returns where a file of the running system is, for this process.
func (r *Request) hostPath(elements ...string) string {
	return filepath.Join(append([]string{r.host}, elements...)...)
}

// seen returns where the running system's processes see a file, for which this process has another path.
func (r *Request) seen(path string) string {
	if rest, ok := strings.CutPrefix(path, r.hidden+"/"); ok && r.hidden != "" {
		return "/" + rest
	}
	return path
}

// seenElsewhere is seen, and "" if the path is the same.
func (r *Request) seenElsewhere(path string) string {
	if other := r.seen(path); other != path {
		return other
	}
	return ""
}

// otherRoot says whether this runs in another root folder than the first process of the machine: in a chroot that has the host's
// proc. If that may not be known it is false.
func (r *Request) otherRoot() bool {
	return !sameFile(filepath.Join(r.Proc, "1", "root"), filepath.Join(r.Proc, "self", "root"))
}

// sameFile says whether two names stand for one file, as far as can be seen: if not, it is true.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return true
	}
	y, err := os.Stat(b)
	return err != nil || os.SameFile(x, y)
}
