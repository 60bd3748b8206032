package process

import (
	"strconv"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// Seccomp is a process's system call filter.
type Seccomp int

// Modes of seccomp.
const (
	SeccompNone   Seccomp = iota
	SeccompStrict         // read, write, exit, sigreturn only
	SeccompFilter
)

// String returns "none", "strict" or "filter".
func (s Seccomp) String() string {
	switch s {
	case SeccompNone:
		return "none"
	case SeccompStrict:
		return "strict"
	case SeccompFilter:
		return "filter"
	}
	return "seccomp " + strconv.Itoa(int(s))
}

// IDs are the real, effective, saved and file system id of a user or group.
type IDs struct{ Real, Effective, Saved, FS uint32 }

func idsOf(ids procfs.IDs) IDs { return IDs{ids[0], ids[1], ids[2], ids[3]} }
