package native

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// fileLoader maps the file of a container: see pieceAt.
type fileLoader struct{}

func (fileLoader) name() string { return "file" }
func (fileLoader) zeroed() bool { return false }

// applies returns an error unless each region has a file that it may be mapped from.
func (fileLoader) applies(x *executor) error {
	pieces := 0
	for _, rg := range x.regions {
		if rg.noFile != nil {
			return rg.noFile
		}
		pieces += len(rg.pieces(rg.file))
	}
	if pieces > maxPieces {
		return fmt.Errorf("the files are too small to be mapped for all libraries: %w", ErrRefused)
	}
	return nil
}

func (fileLoader) mapRegion(s *script, rg *region) {
	file := len(s.calls)
	at := int64(unix.AT_FDCWD)
	c := s.add("opening "+rg.file.Path, call(unix.SYS_OPENAT, uint64(at), 0, fileFlags))
	c.opens = true
	s.points(c, 2, rg.file.Path)
	c = s.mmapFile(rg, extent{0, rg.size}, readExec, unix.MAP_FIXED_NOREPLACE, file, reservedAt)
	c.maps = true
	for _, e := range rg.pieces(rg.file) {
		s.mmapFile(rg, e, readExec, unix.MAP_FIXED, file, pieceAt)
	}
	for _, e := range rg.writable {
		s.mmap(rg, e, readWrite, unix.MAP_ANONYMOUS|unix.MAP_FIXED, ^uint64(0), 0)
	}
	s.closes(file)
}

// check returns an error unless all pieces of the regions are mapped from their files. The process
// opened them: it may have found another file there, or, where it shares its descriptors with
// another one, have got that one's.
func (fileLoader) check(x *executor) error {
	x.step("check")
	maps, err := x.mappings()
	if err != nil {
		return err
	}
	for _, rg := range x.regions {
		for _, e := range rg.pieces(rg.file) {
			want := rtld.Mapping{Start: rg.base + e.off, End: rg.base + e.off + e.size,
				Offset: pieceAt, Perm: rtld.PermRead | rtld.PermExec}
			there := slices.ContainsFunc(maps, func(m rtld.Mapping) bool {
				m.File, m.Path = rtld.FileID{}, ""
				return m == want
			})
			var st unix.Statx_t
			name := fmt.Sprintf("%s/%d/map_files/%x-%x", procfs.Root, x.p.PID, want.Start, want.End)
			// A file system in user space is not asked: it may never answer.
			err := unix.Statx(unix.AT_FDCWD, name, unix.AT_STATX_DONT_SYNC,
				unix.STATX_BASIC_STATS, &st)
			if err != nil || !there || !rg.file.isMapped(&st) {
				return fmt.Errorf("the mapping is not known to be %s: %w", rg.file.Path,
					ErrRefused)
			}
		}
	}
	return nil
}
