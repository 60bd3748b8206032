package native

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// loader is a way to map regions into a process. Each maps private memory, which is filled from
// outside, through /proc/PID/mem: no call is made there but those that map, and nothing here opens
// what the process could put another file in the place of.
type loader interface {
	// name is what Options.load calls it.
	name() string
	// applies returns why it must not be tried; nil: it may.
	applies(x *executor) error
	// mapRegion adds the system calls that map a region.
	mapRegion(s *script, rg *region)
	// check returns an error unless what was mapped is what was asked for.
	check(x *executor) error
	// zeroed reports whether what is mapped is all zeros, which need not be written.
	zeroed() bool
}

// loaders are tried in this order, until the kernel accepts one.
//
// Anonymous memory comes first: it wants no descriptor, no file, no room in a file's size, and
// nothing but mmap of filters. The others are for security modules that do not let a process
// execute anonymous memory (SELinux's execmem). Most of these forbid memory files, too, and permit
// files with the label of a library. That comes last: truncating a file takes the code away
// from all processes that have mapped it, which cannot happen to a memory file.
var loaders = []loader{anonymousLoader{}, memfdLoader{}, fileLoader{}}

// mappings returns what is mapped where the regions are.
func (x *executor) mappings() ([]rtld.Mapping, error) {
	dir, err := procfs.Open(procfs.Root, x.p.PID)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	defer dir.Close()
	var maps []rtld.Mapping
	err = dir.Mappings(func(l *procfs.Mapping) error {
		if !slices.ContainsFunc(x.regions, func(rg *region) bool {
			return l.Start < rg.end() && rg.base < l.End
		}) {
			return nil
		}
		maps = append(maps, rtld.Mapping{
			Start: l.Start, End: l.End, Offset: l.Offset, Perm: rtld.Perm(l.Perm),
			File: rtld.FileID{Dev: l.Dev, Inode: l.Inode},
			Path: string(l.Path[:min(len(l.Path), len(memoryPrefix))]),
		})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return maps, nil
}

const (
	readExec  = unix.PROT_READ | unix.PROT_EXEC
	readWrite = unix.PROT_READ | unix.PROT_WRITE
)
