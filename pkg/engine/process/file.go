package process

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// File is a library as its file has it, for everybody who has that file mapped. What is found out about it holds for each process
// in whose memory the file's own pages still stand ([File.Backs]), and no process can have a say in it: a File is
// read from the file itself, and never from memory, which its process may change between two looks.
//
// Its addresses are those of a place of its own: Libraries returns the one library, with the bias there. It keeps
// one file open, and is read by any number of goroutines. Only code and data that no process writes can be read: what the
// dynamic loader relocates is not in the file as it is in memory.
type File struct {
	f    *os.File
	id   FileStamp
	lib  *Library
	maps []Mapping
	all  bool // ReadAt reads what processes may write, too
}

// FileStamp tells files, and versions of one, apart: what stat(2) says of it, which is not what stands in
// /proc/PID/maps (see [FileID]).
type FileStamp struct {
	dev, inode        uint64
	size              int64
	modified, changed unix.Timespec
}

// filePlace is where the first page of a File is that is linked to 0.
const filePlace = 1 << 32

// maxFile bounds offsets and addresses in a File.
const maxFile = 1 << 30

// mapFile returns the name by which the kernel gives the very file that a library's code is mapped from.
func (m *Memory) mapFile(l *Library) (string, error) {
	for _, s := range l.Segments {
		if s.File && s.Perm&PermExec != 0 {
			return filepath.Join(m.p.opts.root(), strconv.Itoa(m.p.PID), "map_files", fmt.Sprintf("%x-%x", s.Start, s.End)), nil
		}
	}
	return "", malformed("no code from a file")
}

// Stamp returns which file a library's code is mapped from. It needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE.
// The file is not opened.
func (m *Memory) Stamp(ctx context.Context, l *Library) (FileStamp, error) {
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

// unopened is the error of a file that cannot be looked at. The kernel's own would say that the process is gone, or that it is not
// to be looked into, which is another question.
func unopened(err error) error {
	return fmt.Errorf("%w: the file that is mapped: %s", ErrUnreadable, err.Error())
}

func stampOf(st *unix.Stat_t) FileStamp {
	return FileStamp{dev: st.Dev, inode: st.Ino, size: st.Size, modified: st.Mtim, changed: st.Ctim}
}

// OpenFile opens the file that a library's code is mapped from, and reads from it what there is to know of the library. Only
// regular files are opened, by what is mapped and not by name.
func (m *Memory) OpenFile(ctx context.Context, l *Library) (*File, error) {
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

// openRegular opens what a link of /proc leads to, if that is a regular file: to open anything else may have effects.
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
	fd, err := unix.Open(filepath.Join(root, "self/fd", strconv.Itoa(link)), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
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
	if err := file.layOut(); err != nil {
		return nil, err
	}
	list, err := findLibraries(context.Background(), fileReader{file, true}, file.maps, &auxv{base: 1})
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

// layOut makes mappings of the segments.
func (f *File) layOut() error {
	var head [64]byte
	if _, err := f.f.ReadAt(head[:], 0); err != nil {
		return err
	}
	lay := layouts[elf.ELFCLASS64]
	count := int(le.Uint16(head[lay.phnum:]))
	if string(head[:4]) != elf.ELFMAG || elf.Class(head[4]) != elf.ELFCLASS64 || elf.Data(head[5]) != elf.ELFDATA2LSB ||
		int(le.Uint16(head[lay.phentOff:])) != lay.phentsize || count > maxPhdrs {
		return malformed("not a library of 64 bits")
	}
	table := make([]byte, count*lay.phentsize)
	if _, err := f.f.ReadAt(table, int64(lay.get(head[lay.phoff:])&math.MaxInt64)); err != nil {
		return err
	}
	var bias uint64
	if elf.Type(le.Uint16(head[16:])) == elf.ET_DYN {
		bias = filePlace
	}
	for ; len(table) > 0; table = table[lay.phentsize:] {
		if elf.ProgType(le.Uint32(table)) != elf.PT_LOAD {
			continue
		}
		off, addr := lay.get(table[lay.pOffset:]), lay.get(table[lay.pVaddr:])
		filesz, memsz := lay.get(table[lay.pFilesz:]), lay.get(table[lay.pMemsz:])
		if off > maxFile || addr > maxFile || memsz > maxFile || filesz > memsz {
			return ErrLimit
		}
		flags := elf.ProgFlag(le.Uint32(table[4:]))
		m := Mapping{Start: pageDown(bias + addr), End: pageUp(bias + addr + filesz), Offset: pageDown(off), File: FileID{1, 1},
			Perm: permIf(flags, elf.PF_R, PermRead) | permIf(flags, elf.PF_W, PermWrite) | permIf(flags, elf.PF_X, PermExec)}
		if filesz > 0 {
			f.maps = append(f.maps, m)
		}
		if end := pageUp(bias + addr + memsz); end > m.End { // .bss
			f.maps = append(f.maps, Mapping{Start: m.End, End: end, Perm: m.Perm})
		}
	}
	return nil
}

func permIf(flags, flag elf.ProgFlag, p Perm) Perm {
	if flags&flag != 0 {
		return p
	}
	return 0
}

// Stamp returns which file it is, and which version of it.
func (f *File) Stamp() FileStamp { return f.id }

// Library returns the library, at its place in the File.
func (f *File) Library() *Library { return f.lib }

// Libraries returns the one library.
func (f *File) Libraries(context.Context) ([]*Library, error) { return []*Library{f.lib}, nil }

// Mappings calls its function never: nothing is mapped.
func (f *File) Mappings(context.Context, func(Mapping) bool) error { return nil }

// Whole returns the same file, of which everything can be read: what processes may write as it is before they do.
func (f *File) Whole() *File {
	whole := *f
	whole.all = true
	return &whole
}

// ReadAt reads what every process has at an address. The error is ErrUnreadable where that may differ.
func (f *File) ReadAt(_ context.Context, b []byte, addr uint64) (int, error) {
	n, err := fileReader{f, f.all}.readAt(b, addr)
	return n, lookError(0, "file", err)
}

// Symbols opens the symbol table of the library.
func (f *File) Symbols(_ context.Context, l *Library) (*Symbols, error) {
	r := newPages(fileReader{f, false})
	defer r.done()
	s, err := openSymbols(r, l)
	if err != nil {
		return nil, lookError(0, "symbol table", err)
	}
	s.src = fileReader{f, true} // DT_NEEDED
	return s, nil
}

// fileReader reads a File, with everything or without what processes may change.
type fileReader struct {
	f   *File
	all bool
}

func (r fileReader) readAt(b []byte, addr uint64) (n int, err error) {
	for n < len(b) {
		m := r.mapping(addr + uint64(n))
		if m == nil {
			return n, unreadable(addr + uint64(n))
		}
		part := b[n:]
		if rest := m.End - addr - uint64(n); uint64(len(part)) > rest {
			part = part[:rest]
		}
		if m.File == (FileID{}) {
			clear(part)
			n += len(part)
			continue
		}
		got, err := r.f.f.ReadAt(part, int64(m.Offset+addr+uint64(n)-m.Start))
		if err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		if got == 0 {
			return n, unreadable(addr + uint64(n)) // there are zeros only on the last page of the file
		}
		clear(part[got:])
		n += len(part)
	}
	return n, nil
}

func (r fileReader) mapping(addr uint64) *Mapping {
	for i := range r.f.maps {
		m := &r.f.maps[i]
		if addr >= m.Start && addr < m.End && (r.all || m.File != (FileID{}) && m.Perm&PermWrite == 0) {
			return m
		}
	}
	return nil
}

// Backs reports whether all that [File.ReadAt] reads is in memory where a process has a library: the pages that are
// mapped there are the file's own. The kernel knows which pages a process has written to (they are not the
// file's any more); nothing is read. It is known for this moment, as what is read would be.
func (f *File) Backs(ctx context.Context, m *Memory, l *Library) (bool, error) {
	if l.Problem != nil || l.Class != f.lib.Class || l.Machine != f.lib.Machine || l.Type != f.lib.Type || !bytes.Equal(l.BuildID, f.lib.BuildID) {
		return false, nil
	}
	move := l.Bias - f.lib.Bias
	return with(ctx, m, "pagemap", func() (bool, error) {
		pm, err := m.pagemap()
		if err != nil {
			return false, err
		}
		for _, own := range f.maps {
			if own.File == (FileID{}) || own.Perm&PermWrite != 0 {
				continue
			}
			if !l.maps(own, move) {
				return false, nil
			}
			if is, err := unmodified(pm, own.Start+move, own.End+move); !is || err != nil {
				return false, err
			}
		}
		return true, m.used()
	})
}

// maps reports whether a library has a mapping of its file at its place, as a whole and not writable.
func (l *Library) maps(own Mapping, move uint64) bool {
	for at, end := own.Start+move, own.End+move; at < end; {
		s := l.Segment(at)
		if s == nil || !s.File || s.Perm&PermWrite != 0 || s.Offset+at-s.Start != own.Offset+at-own.Start-move {
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
	pageOfFile  = 1 << 61 // or of shared memory without a file; not a copy that the process has made by writing
	pageGuard   = 1 << 58
)

// unmodified reports whether pages that are mapped from a file are that file's: what is there is not the process's
// own copy, and what is not there would be brought from the file.
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
