package hook

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// place is why nothing is to be done where this runs, "" if something is.
type place string

const (
	buildRoot place = "a build root: no process is touched"
	noProc    place = "no /proc: no process can be seen"
)

// where looks at where this runs.
func (r *Request) where() place {
	if _, err := os.Lstat(r.path(".buildenv")); err == nil {
		return buildRoot
	}
	if !isProc(r.Proc) {
		return noProc
	}
	return ""
}

// isProc says whether a folder is a proc file system in which this process is.
func isProc(dir string) bool {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil || fs.Type != unix.PROC_SUPER_MAGIC {
		return false
	}
	_, err := os.Stat(filepath.Join(dir, "self", "stat"))
	return err == nil
}
