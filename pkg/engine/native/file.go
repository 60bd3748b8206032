package native

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// File is the file that a container was read from. A process that may not execute other memory maps
// it: see doc.go.
type File struct {
	Path string // absolute, as processes see it

	dev, inode uint64
	size       uint64
}

// NewFile returns the file at a path, with what fstat(2) told of the descriptor that the container
// was read from.
func NewFile(path string, info fs.FileInfo) *File {
	f := &File{Path: path, size: uint64(info.Size())}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		f.dev, f.inode = st.Dev, st.Ino
	}
	return f
}

// A region that a file is mapped for consists of pieces, each of which begins at the file's second
// page. That tells it from what a loader maps: a piece's neighbour is never the file's page before
// it, and a library's first page is at its beginning. All pages are written, so that nothing of the
// file remains in them.
//
// The first call maps the whole region at once, so that nothing gets between the pieces: far beyond
// the file's end, where nobody else maps a file. It can be told from anything else, as can what the
// pieces have not replaced yet. When they all are there, the first one is a single page, and the
// second page the same one again, which no loader does.
const (
	pieceAt    = pageSize
	reservedAt = 0x34c504200000 // some 50 TiB
	// maxPieces bounds the calls for all regions of a change.
	maxPieces = 24
	// maxFilePath bounds what stands on the stack of the thread that opens the file.
	maxFilePath = 1024
	// fileSuffix is that of all containers. No other descriptor is asked whether it is a forgotten
	// one.
	fileSuffix = ".so"
)

// fileFlags are how a process opens the file. Nobody else has a reason to ask for synchronous
// appending to what is only read: by that a descriptor is recognised that a killed engine left.
// None of the flags has an effect on mapping.
const fileFlags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK |
	unix.O_APPEND | unix.O_SYNC

// backing chooses the file for a region, the largest one of its containers, and says why there is
// none.
func (b *planner) backing(rg *region, tp *targetPlan) (*File, error) {
	var f *File
	for _, a := range tp.adding {
		if own := a.patch.File; own != nil && (f == nil || own.size > f.size) {
			f = own
		}
	}
	switch {
	case f == nil:
		return nil, fmt.Errorf("no file of the live patch is known: %w", ErrRefused)
	case !strings.HasSuffix(f.Path, fileSuffix) || len(f.Path) > maxFilePath:
		return nil, fmt.Errorf("%s: its name does not end in %s, or is too long: %w", f.Path,
			fileSuffix, ErrRefused)
	case f.size <= pieceAt || len(rg.pieces(f)) > maxPieces || len(rg.writable) > 0 &&
		rg.writable[0].off < 2*pageSize:
		return nil, fmt.Errorf("%s: too small a file: %w", f.Path, ErrRefused)
	}
	return f, f.seenBy(b.p.PID)
}

// seenBy returns an error unless a process finds the file under its path. Nothing is opened there:
// what the process may put in its place may be a FIFO, or another's file.
func (f *File) seenBy(pid int) error {
	root, err := unix.Open(procfs.Root+"/"+strconv.Itoa(pid)+"/root",
		unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: its root directory: %w: %w", f.Path, ErrRefused, err)
	}
	defer func() { _ = unix.Close(root) }()
	at, err := unix.Openat2(root, f.Path,
		&unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return fmt.Errorf("the process does not see %s: %w: %w", f.Path, ErrRefused, err)
	}
	defer func() { _ = unix.Close(at) }()
	var st unix.Stat_t
	switch err := unix.Fstat(at, &st); {
	case err != nil:
		return fmt.Errorf("%s: %w: %w", f.Path, ErrRefused, err)
	case !f.is(&st):
		return fmt.Errorf("the process sees another file as %s: %w", f.Path, ErrRefused)
	case st.Mode&0o022 != 0 || st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s: others may write to it: %w", f.Path, ErrRefused)
	}
	return nil
}

// is reports whether stat(2) told of this file.
func (f *File) is(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFREG && st.Dev == f.dev && st.Ino == f.inode &&
		uint64(st.Size) == f.size
}

// isMapped is is for statx(2).
func (f *File) isMapped(st *unix.Statx_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFREG && unix.Mkdev(st.Dev_major, st.Dev_minor) == f.dev &&
		st.Ino == f.inode && st.Size == f.size
}

// isFile reports whether a mapping may be a piece of a region.
func isFile(m rtld.Mapping) bool {
	return m.Perm == rtld.PermRead|rtld.PermExec && m.File != rtld.FileID{} && m.Offset >= pieceAt
}

// continues reports whether a mapping goes on with the file where the one before it ends, as a
// library's code does after its first pages.
func continues(before, m rtld.Mapping) bool {
	return m.Start == before.End && m.File == before.File && m.Offset == before.Offset+
		(before.End-before.Start)
}

// reserved reports whether a mapping is what the first call has mapped for the region at base, or a
// part of that.
func reserved(m rtld.Mapping, base uint64) bool {
	return isFile(m) && m.Offset == reservedAt+(m.Start-base)
}

// unmarkedFile returns how large a region is that begins at a mapping of a file, and of which
// nothing has been written; 0: it is none.
func unmarkedFile(ctx context.Context, m memory, maps []rtld.Mapping) (uint64, error) {
	base, end := maps[0].Start, maps[0].Start
	pieces, code := 0, end // after the last piece, as the last page of each region is
	for _, l := range maps {
		piece := isFile(l) && l.File == maps[0].File && (l.Offset == pieceAt || reserved(l, base))
		if l.Start != end || !piece && !isData(l) || l.End-base > maxUnmarked {
			break
		}
		if end = l.End; piece {
			pieces, code = pieces+1, end
		}
	}
	if signedSize(base, code-base) != code-base {
		return 0, nil
	}
	if reserved(maps[0], base) {
		return code - base, nil
	}
	if pieces < 2 || maps[0].End != base+pageSize || !isFile(maps[1]) {
		return 0, nil
	}
	if reserved(maps[1], base) {
		return code - base, nil
	}
	var pages [2][pageSize]byte
	for i := range pages {
		_, err := m.ReadAt(ctx, pages[i][:], base+uint64(i)*pageSize)
		if errors.Is(err, process.ErrUnreadable) {
			// the file was truncated: whose it is, is not known
			return 0, nil
		} else if err != nil {
			return 0, err
		}
	}
	if pages[0] != pages[1] {
		return 0, nil
	}
	return code - base, nil
}
