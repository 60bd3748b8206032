package rtld

import (
	"debug/elf"
	"errors"
	"slices"
)

// Library is one ELF image that is loaded in a process: a shared object, or the program itself.
//
// Path and Name are for people. What the library is, its build-id says, and where it is, its
// segments: those come from the kernel, while build-id and SONAME are what stands in memory. An
// image counts as loaded if a segment of it can be executed; libraries that are only mapped to be
// read, as debuggers do, are not listed. Those whose code was moved into memory without a file, in
// the same place, as some programs do to have huge pages, are.
type Library struct {
	Path    string // see Mapping.Path
	Name    string // base name of Path
	Deleted bool   // see Mapping.Deleted
	File    FileID

	Main    bool // the program itself, also one that was started as "ld.so ./program"
	Loader  bool // the dynamic loader that it was started with
	Class   elf.Class
	Machine elf.Machine
	Type    elf.Type // ET_DYN or ET_EXEC
	Bias    uint64   // to be added to the addresses in the file
	// BuildID is the descriptor of the GNU build-id note in memory; nil if there is none or it
	// cannot be read.
	BuildID []byte
	// BuildIDAt is where BuildID stands in memory; 0 if it is nil.
	BuildIDAt uint64
	SONAME    string // "" if there is none or it cannot be read
	// Problem is why BuildID or the dynamic section could not be read: it wraps [ErrMalformed],
	// [ErrUnreadable] or [ErrLimit]. The library cannot be patched then; the others of the process
	// can.
	Problem error
	// Segments are the mappings of the image, in ascending order, at least one of them executable.
	Segments []Segment

	dynamic *dynamic // nil if there is none
	ehFrame span     // PT_GNU_EH_FRAME; zero if there is none
}

// Segment is memory of an image. Without a file it is .bss, or code that was moved.
type Segment struct {
	Start, End uint64
	Offset     uint64 // in the file
	Perm       Perm
	File       bool
}

// Contains reports whether size bytes from addr on are in the image, gaps not counted.
func (l *Library) Contains(addr, size uint64) bool {
	for size > 0 {
		rest := l.rest(addr)
		if rest == 0 {
			return false
		}
		if rest >= size {
			return true
		}
		addr, size = addr+rest, size-rest
	}
	return true
}

// rest returns how many bytes there are from addr to the end of its segment.
func (l *Library) rest(addr uint64) uint64 {
	if s := l.Segment(addr); s != nil {
		return s.End - addr
	}
	return 0
}

// SameAs reports whether two looks at a library saw the same.
func (l *Library) SameAs(other *Library) bool {
	return l.Bias == other.Bias && slices.Equal(l.BuildID, other.BuildID) &&
		slices.Equal(l.Segments, other.Segments)
}

// Executable reports whether there is code at an address.
func (l *Library) Executable(addr uint64) bool {
	s := l.Segment(addr)
	return s != nil && s.Perm&PermExec != 0
}

// UnwindTable returns where the library's .eh_frame_hdr is (PT_GNU_EH_FRAME); size is 0 if it has
// none.
func (l *Library) UnwindTable() (addr, size uint64) {
	if l.ehFrame == (span{}) {
		return 0, 0
	}
	return l.Bias + l.ehFrame.addr, l.ehFrame.memsz
}

// Segment returns the segment that an address is in, nil if there is none.
func (l *Library) Segment(addr uint64) *Segment {
	i, _ := slices.BinarySearchFunc(l.Segments, addr, func(s Segment, addr uint64) int {
		if s.End <= addr {
			return -1
		}
		return 1
	})
	if i < len(l.Segments) && addr >= l.Segments[i].Start {
		return &l.Segments[i]
	}
	return nil
}

// describe reads what the image says about itself. Only an error that concerns the whole process is
// returned.
func (l *Library) describe(r Reader, im *image) error {
	idErr := l.readBuildID(r, im)
	dynErr := l.readNames(r, im)
	for _, err := range []error{idErr, dynErr} {
		if err != nil && !Local(err) {
			return err
		}
	}
	l.Problem = errors.Join(idErr, dynErr)
	return nil
}

func (l *Library) readBuildID(r Reader, im *image) error {
	var failed error
	for _, n := range im.notes[:min(len(im.notes), 8)] {
		addr := im.bias + n.addr
		switch {
		case n.filesz > maxNotes:
			failed = errors.Join(failed, ErrLimit)
			continue
		case !l.Contains(addr, n.filesz):
			failed = errors.Join(failed, malformed("note outside of the image"))
			continue
		}
		notes, err := im.bytes(r, addr, n.filesz)
		if err == nil {
			var off uint64
			l.BuildID, off, err = buildID(notes)
			l.BuildIDAt = addr + off
		}
		if l.BuildID != nil {
			return nil
		}
		failed = errors.Join(failed, err)
	}
	l.BuildIDAt = 0
	return failed
}

func (l *Library) readNames(r Reader, im *image) error {
	if im.dynamic == (span{}) {
		return nil
	}
	d, err := l.readDynamic(r, im)
	if err != nil {
		return err
	}
	l.dynamic = d
	if d.hasSoname {
		l.SONAME, err = l.text(r, d, d.soname, maxFileName)
	}
	return err
}
