package rtld

import (
	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// Perm are the permissions of a mapping.
type Perm uint8

// Bits of Perm. Without PermShared a mapping is private: what is written to it stays in the
// process.
const (
	PermRead   Perm = procfs.PermRead
	PermWrite  Perm = procfs.PermWrite
	PermExec   Perm = procfs.PermExec
	PermShared Perm = procfs.PermShared
)

// String returns the permissions as in /proc/PID/maps: "r-xp".
func (p Perm) String() string {
	b := []byte("---p")
	for i, c := range []byte("rwxs") {
		if p&(1<<i) != 0 {
			b[i] = c
		}
	}
	return string(b)
}

// FileID is what the kernel knows a mapped file by. It is 0 for memory without a file. With overlay
// and btrfs file systems it is not what stat(2) tells of the same file.
type FileID struct{ Dev, Inode uint64 }

// Mapping is one line of /proc/PID/maps.
type Mapping struct {
	Start, End uint64
	Offset     uint64 // in the file
	Perm       Perm
	File       FileID
	// Path is what the kernel says, at most 4,096 bytes of it: a path in the process's mount
	// namespace, or in brackets what else it is. A newline in it is "\012"; all other bytes are as
	// they are. Never open it.
	Path string
	// Path had " (deleted)" after it: the file was deleted or replaced, or the name ends so
	Deleted bool
}
