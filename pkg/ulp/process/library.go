package process

import (
	"context"
	"debug/elf"
	"errors"
	"path"
)

// Library is one ELF image that is loaded in a process: a shared object, or the program itself.
//
// Path and Name are for people. What the library is, its build-id says, and where it is, its segments: those come from
// the kernel, while build-id and SONAME are what stands in memory. An image counts as loaded if a segment of it can be
// executed; libraries that are only mapped to be read, as debuggers do, are not listed.
type Library struct {
	Path    string // see Mapping.Path
	Name    string // base name of Path
	Deleted bool   // see Mapping.Deleted
	File    FileID

	Main    bool // the program itself
	Loader  bool // the dynamic loader that the kernel started it with
	Class   elf.Class
	Machine elf.Machine
	Type    elf.Type // ET_DYN or ET_EXEC
	Bias    uint64   // to be added to the addresses in the file
	// BuildID is the descriptor of the GNU build-id note in memory; nil if there is none or it cannot be read.
	BuildID []byte
	SONAME  string   // "" if there is none or it cannot be read
	Needed  []string // DT_NEEDED, in order
	// Problem says why BuildID or the dynamic section could not be read: it wraps [ErrMalformed], [ErrUnreadable] or
	// [ErrLimit]. The library cannot be patched then; the others of the process can.
	Problem error
	// Segments are the mappings of the image, in ascending order, at least one of them executable.
	Segments []Segment

	dynamic *dynamic // nil if there is none
}

// Segment is memory of an image. Without a file it is .bss.
type Segment struct {
	Start, End uint64
	Offset     uint64 // in the file
	Perm       Perm
	File       bool
}

// Contains says whether size bytes from addr on are in the image, gaps not counted.
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

// Segment returns the segment that an address is in, nil if there is none.
func (l *Library) Segment(addr uint64) *Segment {
	for i := range l.Segments {
		if s := &l.Segments[i]; addr >= s.Start && addr < s.End {
			return s
		}
	}
	return nil
}

// Libraries opens the memory of the process and returns its libraries; see [Memory.Libraries].
func (p *Process) Libraries(ctx context.Context) ([]*Library, error) {
	m, err := p.Memory(ctx)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	return m.Libraries(ctx)
}

// Libraries returns the ELF images that are loaded from files, in ascending order of address: programs and libraries,
// also those whose file was deleted or replaced, that are in memory files, or in another mount namespace. The vDSO is
// not from a file. An image that is malformed is in the list, with its Problem, as far as it could be understood.
//
// The error is a [*LookError]: [ErrGone], [ErrChanged], or [ErrLimit] for more than 4,096 images or 16,384 mappings of
// files that have code.
func (m *Memory) Libraries(ctx context.Context) ([]*Library, error) {
	return with(ctx, m, "maps", func() ([]*Library, error) {
		maps, err := m.fileMappings()
		if err != nil {
			return nil, err
		}
		a, err := m.dir.auxv()
		if err != nil {
			return nil, err
		}
		list, err := findLibraries(ctx, m, maps, a)
		if err != nil {
			return nil, err
		}
		if err := m.intact(); err != nil { // maps, auxv and memory are of one program
			return nil, err
		}
		return list, nil
	})
}

// findLibraries looks for images at every mapping of the beginning of a file.
func findLibraries(ctx context.Context, r reader, maps []Mapping, a *auxv) ([]*Library, error) {
	var (
		list  []*Library
		taken = make([]bool, len(maps)) // those that belong to an image
		next  = nextOfFile(maps)
	)
	for i := range maps {
		if taken[i] || maps[i].File == (FileID{}) || maps[i].Offset != 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		l, err := readLibrary(r, maps, i, next, taken, a)
		switch {
		case errors.Is(err, errNotELF):
			continue
		case errors.Is(err, ErrMalformed), errors.Is(err, ErrUnreadable), errors.Is(err, ErrLimit):
			continue // the mapping is no image that a loader could have made
		case err != nil:
			return nil, err
		case l == nil:
			continue
		case len(list) == maxLibraries:
			return nil, ErrLimit
		}
		list = append(list, l)
	}
	return list, nil
}

// nextOfFile returns for each mapping the index of the next one of the same file or of the memory behind it; 0 if none.
func nextOfFile(maps []Mapping) []int32 {
	next := make([]int32, len(maps))
	last := make(map[FileID]int32)
	var owner FileID
	for i := range maps {
		if maps[i].File != (FileID{}) {
			owner = maps[i].File
		}
		if j, ok := last[owner]; ok {
			next[j] = int32(i)
		}
		last[owner] = int32(i)
	}
	return next
}

// readLibrary reads the image that begins at mapping i, and takes the mappings that belong to it. The result is nil if
// no code of it is mapped.
func readLibrary(r reader, maps []Mapping, i int, next []int32, taken []bool, a *auxv) (*Library, error) {
	var head [headBytes]byte
	im, err := readImage(r, &maps[i], head[:])
	if err != nil {
		return nil, err
	}
	var code Perm
	var mine []Segment
	for j, end := i, im.end(); ; {
		if s := &maps[j]; !taken[j] && im.owns(s) {
			taken[j] = true
			code |= s.Perm
			mine = append(mine, Segment{Start: s.Start, End: s.End, Offset: s.Offset, Perm: s.Perm, File: s.File != FileID{}})
		}
		if j = int(next[j]); j == 0 || maps[j].Start >= end {
			break
		}
	}
	if code&PermExec == 0 {
		return nil, nil
	}
	l := &Library{Path: maps[i].Path, Name: path.Base(maps[i].Path), Deleted: maps[i].Deleted, File: maps[i].File,
		Class: im.class, Machine: im.machine, Type: im.kind, Bias: im.bias, Segments: mine}
	l.Main = a.phdr != 0 && a.phdr == im.phdrs
	l.Loader = a.base != 0 && a.base == maps[i].Start
	return l, l.describe(r, im)
}

// describe reads what the image says about itself. Only an error that concerns the whole process is returned.
func (l *Library) describe(r reader, im *image) error {
	idErr := l.readBuildID(r, im)
	dynErr := l.readNames(r, im)
	for _, err := range []error{idErr, dynErr} {
		if err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnreadable) && !errors.Is(err, ErrLimit) {
			return err
		}
	}
	l.Problem = errors.Join(idErr, dynErr)
	return nil
}

func (l *Library) readBuildID(r reader, im *image) error {
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
			l.BuildID, err = buildID(notes)
		}
		if l.BuildID != nil {
			return nil
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

func (l *Library) readNames(r reader, im *image) error {
	if im.dynamic == (span{}) {
		return nil
	}
	d, err := l.readDynamic(r, im)
	if err != nil {
		return err
	}
	l.dynamic = d
	if d.hasSoname {
		l.SONAME, err = l.text(r, d, d.soname)
	}
	return err
}
