package hook

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/lpbuild/lpbuild/internal/atomicfile"
)

// nextFile is where /var/livepatches/PACKAGE says what the next boot has of the package, and of which boot "next" is meant:
//
//	BOOT-ID
//	VERSION, or "-" for none
//
// Until then that version counts, whatever the running snapshot has. Afterwards what has been booted counts, be it that one or,
// after a rollback, an older one; and what was put aside is of no use any more. A package without the file is
// somebody else's, as libpulp's tools use the same folders: it is left alone.
const nextFile = "next"

// noVersion says in nextFile that the package is erased.
const noVersion = "-"

// maxNext bounds the file, in bytes.
const maxNext = 1 << 10

// next is what a transactional update has put aside.
type next struct {
	boot    string // in which it did
	version string // noVersion: the package was erased
}

// bootID returns what the kernel calls the time since it was booted, "" if it does not tell.
func (r *Request) bootID() string {
	data, err := readOwn(filepath.Join(r.Proc, "sys", "kernel", "random", "boot_id"), maxNext)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// putNext notes what the next boot has of a package, whose folder is there.
func (r *Request) putNext(version string) error {
	return atomicfile.Write(r.hostPath(sharedDir, r.Package, nextFile), []byte(r.bootID()+"\n"+version+"\n"), 0o644)
}

// next returns what the next boot has of a package; false if nobody has said so.
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

// parseNext reads what putNext writes.
func parseNext(data []byte) (next, bool) {
	boot, rest, _ := strings.Cut(string(data), "\n")
	version, _, ok := strings.Cut(rest, "\n")
	if !ok || version != noVersion && checkName("version", version) != nil {
		return next{}, false
	}
	return next{boot, version}, true
}

// isNext says whether what was put aside counts still: there was no boot since. If the kernel does not tell it counts.
func (r *Request) isNext(n next) bool {
	boot := r.bootID()
	return boot == "" || n.boot == boot
}

// readOwn reads a small file that only root can write and that is no link.
func readOwn(name string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat() // of what was opened: another file may have the name by now
	if err != nil {
		return nil, err
	}
	if err := ownInfo(name, info, false); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, limit))
}
