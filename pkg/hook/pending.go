package hook

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/lpbuild/lpbuild/internal/atomicfile"
)

// nextFile is the file in /var/livepatches/PACKAGE that names the version of the package in the
// next boot, and the boot to which "next" refers:
//
//	BOOT-ID
//	VERSION, or "-" for none
//
// Until then that version counts, whatever the running snapshot has. Afterwards the booted system
// counts, whether it has that version or, after a rollback, an older one, and the files that were
// put aside are obsolete. A package without the file is not ours, since libpulp's tools use the
// same directories: it is left alone.
const nextFile = "next"

// noVersion in nextFile means that the package is erased.
const noVersion = "-"

// maxNext bounds the file, in bytes.
const maxNext = 1 << 10

// next describes what a transactional update has put aside.
type next struct {
	boot    string // in which the update ran
	version string // or noVersion if the package was erased
}

// bootID returns the kernel's id of the current boot, or "" if unknown.
func (r *Request) bootID() string {
	data, err := readOwn(filepath.Join(r.Proc, "sys", "kernel", "random", "boot_id"), maxNext)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// putNext records the version that the next boot has of a package, whose directory exists.
func (r *Request) putNext(version string) error {
	return atomicfile.Write(r.hostPath(sharedDir, r.Package, nextFile),
		[]byte(r.bootID()+"\n"+version+"\n"), 0o644)
}

// next returns the version that the next boot has of a package, and false if none is recorded.
func (r *Request) next(pkg string) (next, bool) {
	if ownBelow(r.hostPath(sharedDir), pkg) != nil {
		return next{}, false
	}
	data, err := readOwn(r.hostPath(sharedDir, pkg, nextFile), maxNext)
	if err != nil {
		return next{}, false
	}
	return parseNext(data)
}

// parseNext parses what putNext writes.
func parseNext(data []byte) (next, bool) {
	boot, rest, _ := strings.Cut(string(data), "\n")
	version, _, ok := strings.Cut(rest, "\n")
	if !ok || version != noVersion && checkName("version", version) != nil {
		return next{}, false
	}
	return next{boot, version}, true
}

// isNext reports whether the files that were put aside still count, that is, whether there was no
// boot since. If the boot id is unknown they count.
func (r *Request) isNext(n next) bool {
	boot := r.bootID()
	return boot == "" || n.boot == boot
}

// readOwn reads a small file that only root can write to and that is not a link.
func readOwn(name string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat() // checks the opened file: another file may have the name by now
	if err != nil {
		return nil, err
	}
	if err := ownInfo(name, info, false); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, limit))
}
