package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// File is a library as its file has it, the same for all processes that have the file mapped. What
// is found out about it holds for each process in whose memory the file's own pages still stand
// ([File.Backs]), and no process can have a say in it: a File is read from the file itself, and
// never from memory, which its process may change between two looks.
//
// Its addresses are those of a place of its own: Libraries returns the one library, with the bias
// there. It keeps one file open, and is read by any number of goroutines. Only code and data that
// no process writes can be read: what the dynamic loader relocates is not in the file as it is in
// memory.
type File struct {
	f    *os.File
	id   FileStamp
	lib  *rtld.Library
	maps []rtld.Mapping
	all  bool // ReadAt reads what processes may write, too
}

// FileStamp tells files, and versions of one, apart: what stat(2) says of it, which is not what
// stands in /proc/PID/maps (see [rtld.FileID]).
type FileStamp struct {
	dev, inode        uint64
	size              int64
	modified, changed unix.Timespec
}

// filePlace is where the first page of a File is that is linked to 0.
const filePlace = 1 << 32

// mapFile returns the name by which the kernel gives the very file that a library's code is mapped
// from.
func (m *Memory) mapFile(l *rtld.Library) (string, error) {
	for _, s := range l.Segments {
		if s.File && s.Perm&rtld.PermExec != 0 {
			return filepath.Join(m.p.opts.root(), strconv.Itoa(m.p.PID), "map_files",
				fmt.Sprintf("%x-%x", s.Start, s.End)), nil
		}
	}
	return "", malformed("no code from a file")
}

// Stamp returns which file a library's code is mapped from. It needs CAP_SYS_ADMIN or
// CAP_CHECKPOINT_RESTORE. The file is not opened.
func (m *Memory) Stamp(ctx context.Context, l *rtld.Library) (FileStamp, error) {
	return with(ctx, m, "map_files", func() (FileStamp, error) {
		name, err := m.mapFile(l)
		if err != nil {
			return FileStamp{}, err
		}
		var st unix.Stat_t
		if err := unix.Stat(name, &st); err != nil {
			return FileStamp{}, unopened(err)
		}
		return stampOf(&st), m.used() // the number was not somebody else's
	})
}

// unopened is the error of a file that cannot be looked at. The kernel's own would say that the
// process is gone, or that it is not to be looked into, which is another question.
func unopened(err error) error {
	return fmt.Errorf("%w: the file that is mapped: %s", ErrUnreadable, err.Error())
}

func stampOf(st *unix.Stat_t) FileStamp {
	return FileStamp{dev: st.Dev, inode: st.Ino, size: st.Size, modified: st.Mtim, changed: st.Ctim}
}

// OpenFile opens the file that a library's code is mapped from, and reads from it what there is to
// know of the library. Only regular files are opened, by what is mapped and not by name.
func (m *Memory) OpenFile(ctx context.Context, l *rtld.Library) (*File, error) {
	return with(ctx, m, "map_files", func() (*File, error) {
		name, err := m.mapFile(l)
		if err != nil {
			return nil, err
		}
		f, err := openRegular(m.p.opts.root(), name)
		if err != nil {
			return nil, unopened(err)
		}
		file, err := newFile(f)
		if err == nil {
			err = m.intact()
		}
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		return file, nil
	})
}

// openRegular opens what a link of /proc leads to, if that is a regular file: to open anything else
// may have effects.
func openRegular(root, name string) (*os.File, error) {
	link, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(link) }()
	var st unix.Stat_t
	if err := unix.Fstat(link, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, malformed("not a regular file")
	}
	fd, err := unix.Open(filepath.Join(root, "self/fd", strconv.Itoa(link)),
		unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// newFile reads the program headers, and lays the segments out as a dynamic loader does.
func newFile(f *os.File) (*File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	file := &File{f: f, id: stampOf(&st)}
	var err error
	if file.maps, err = rtld.LayOut(f, filePlace); err != nil {
		return nil, err
	}
	list, err := rtld.FindLibraries(context.Background(), fileReader{file, true}, file.maps,
		rtld.Auxv{Base: 1})
	switch {
	case err != nil:
		return nil, err
	case len(list) != 1:
		return nil, malformed("%d images in one file", len(list))
	case list[0].Problem != nil:
		return nil, list[0].Problem
	}
	file.lib = list[0]
	return file, nil
}

// Stamp returns which file it is, and which version of it.
func (f *File) Stamp() FileStamp { return f.id }

// Content returns the bytes of the file, as many as it had when it was opened.
func (f *File) Content() *io.SectionReader { return io.NewSectionReader(f.f, 0, f.id.size) }

// Library returns the library, at its place in the File.
func (f *File) Library() *rtld.Library { return f.lib }

// Libraries returns the one library.
func (f *File) Libraries(context.Context) ([]*rtld.Library, error) {
	return []*rtld.Library{f.lib}, nil
}

// Mappings calls its function never: nothing is mapped.
func (f *File) Mappings(context.Context, func(rtld.Mapping) bool) error { return nil }

// MappingAt finds nothing: nothing is mapped.
func (f *File) MappingAt(context.Context, uint64) (rtld.Mapping, bool, error) {
	return rtld.Mapping{}, false, nil
}

// Whole returns the same file, of which everything can be read: what processes may write as it is
// before they do.
func (f *File) Whole() *File {
	whole := *f
	whole.all = true
	return &whole
}

// ReadAt reads what every process has at an address. The error is ErrUnreadable where that may
// differ.
func (f *File) ReadAt(_ context.Context, b []byte, addr uint64) (int, error) {
	n, err := fileReader{f, f.all}.ReadAt(b, addr)
	return n, lookError(0, "file", err)
}

// Symbols opens the symbol table of the library.
func (f *File) Symbols(ctx context.Context, l *rtld.Library) (*rtld.Symbols, error) {
	s, err := rtld.OpenSymbols(ctx, fileReader{f, false}, l)
	if err != nil {
		return nil, err
	}
	return s.From(fileReader{f, true}), nil // DT_NEEDED
}

// fileReader reads a File, with everything or without what processes may change.
type fileReader struct {
	f   *File
	all bool
}

// ReadAt reads len(b) bytes at an address.
func (r fileReader) ReadAt(b []byte, addr uint64) (n int, err error) {
	for n < len(b) {
		m := r.mapping(addr + uint64(n))
		if m == nil {
			return n, unreadable(addr + uint64(n))
		}
		part := b[n:]
		if rest := m.End - addr - uint64(n); uint64(len(part)) > rest {
			part = part[:rest]
		}
		if m.File == (rtld.FileID{}) {
			clear(part)
			n += len(part)
			continue
		}
		got, err := r.f.f.ReadAt(part, int64(m.Offset+addr+uint64(n)-m.Start))
		if err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		if got == 0 {
			// there are zeros only on the last page of the file
			return n, unreadable(addr + uint64(n))
		}
		clear(part[got:])
		n += len(part)
	}
	return n, nil
}

// Walk implements [rtld.Source].
func (r fileReader) Walk(_ context.Context, what string,
	f func(r rtld.Reader) (any, error)) (any, error) {
	v, err := f(r)
	return v, lookError(0, what, err)
}

func (r fileReader) mapping(addr uint64) *rtld.Mapping {
	for i := range r.f.maps {
		m := &r.f.maps[i]
		if addr >= m.Start && addr < m.End && (r.all || m.File != (rtld.FileID{}) &&
			m.Perm&rtld.PermWrite == 0) {
			return m
		}
	}
	return nil
}

// Backs reports whether all that [File.ReadAt] reads is in memory where a process has a library:
// the pages that are mapped there are the file's own. The kernel knows which pages a process has
// written to (they are not the file's any more); nothing is read. It is known for this moment, as
// what is read would be.
func (f *File) Backs(ctx context.Context, m *Memory, l *rtld.Library) (bool, error) {
	if l.Problem != nil || l.Class != f.lib.Class || l.Machine != f.lib.Machine ||
		l.Type != f.lib.Type || !bytes.Equal(l.BuildID, f.lib.BuildID) {
		return false, nil
	}
	move := l.Bias - f.lib.Bias
	return with(ctx, m, "pagemap", func() (bool, error) {
		pm, err := m.pagemap()
		if err != nil {
			return false, err
		}
		for _, own := range f.maps {
			if own.File == (rtld.FileID{}) || own.Perm&rtld.PermWrite != 0 {
				continue
			}
			if !hasMapped(l, own, move) {
				return false, nil
			}
			if is, err := unmodified(pm, own.Start+move, own.End+move); !is || err != nil {
				return false, err
			}
		}
		return true, m.used()
	})
}

// hasMapped reports whether a library has a mapping of its file at its place, as a whole and not
// writable.
func hasMapped(l *rtld.Library, own rtld.Mapping, move uint64) bool {
	for at, end := own.Start+move, own.End+move; at < end; {
		s := l.Segment(at)
		if s == nil || !s.File || s.Perm&rtld.PermWrite != 0 || s.Offset+at-s.Start != own.Offset+
			at-own.Start-move {
			return false
		}
		at = s.End
	}
	return true
}

// Bits of an entry in /proc/PID/pagemap, from Documentation/admin-guide/mm/pagemap.rst.
const (
	pagePresent = 1 << 63
	pageSwapped = 1 << 62
	// or of shared memory without a file; not a copy that the process has made by writing
	pageOfFile = 1 << 61
	pageGuard  = 1 << 58
)

// unmodified reports whether pages that are mapped from a file are that file's: what is there is
// not the process's own copy, and what is not there would be brought from the file.
func unmodified(pm procfs.File, start, end uint64) (bool, error) {
	var b [4096]byte
	for at := start; at < end; {
		want := b[:min(uint64(len(b)), (end-at)/pageSize*8)]
		n, err := unix.Pread(int(pm), want, int64(at/pageSize*8))
		if err != nil || n == 0 || n%8 != 0 {
			return false, err
		}
		for entries := want[:n]; len(entries) > 0; entries = entries[8:] {
			e := le.Uint64(entries)
			if e&(pageSwapped|pageGuard) != 0 || e&pagePresent != 0 && e&pageOfFile == 0 {
				return false, nil
			}
		}
		at += uint64(n/8) * pageSize
	}
	return true, nil
}
