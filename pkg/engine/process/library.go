package process

import (
	"context"
	"debug/elf"
	"errors"
	"path"
	"slices"
)

// Library is one ELF image that is loaded in a process: a shared object, or the program itself.
//
// Path and Name are for people. What the library is, its build-id says, and where it is, its segments: those come from
// the kernel, while build-id and SONAME are what stands in memory. An image counts as loaded if a segment of it can be
// executed; libraries that are only mapped to be read, as debuggers do, are not listed. Those whose code was moved into memory
// without a file, in the same place, as some programs do to have huge pages, are.
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
	// BuildID is the descriptor of the GNU build-id note in memory; nil if there is none or it cannot be read.
	BuildID []byte
	// BuildIDAt is where BuildID stands in memory; 0 if it is nil.
	BuildIDAt uint64
	SONAME    string // "" if there is none or it cannot be read
	// Problem says why BuildID or the dynamic section could not be read: it wraps [ErrMalformed], [ErrUnreadable] or
	// [ErrLimit]. The library cannot be patched then; the others of the process can.
	Problem error
	// Segments are the mappings of the image, in ascending order, at least one of them executable.
	Segments []Segment

	dynamic *dynamic // nil if there is none
}

// Segment is memory of an image. Without a file it is .bss, or code that was moved.
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
// The error is a [*LookError]: [ErrGone], [ErrChanged], or [ErrLimit] for more than 2,048 images or 16,384 mappings of
// files that have code.
func (m *Memory) Libraries(ctx context.Context) ([]*Library, error) {
	return with(ctx, m, "maps", func() ([]*Library, error) { return m.libraries(ctx) })
}

func (m *Memory) libraries(ctx context.Context) ([]*Library, error) {
	maps, all, err := m.readMappings()
	if err != nil {
		return nil, err
	}
	a := m.p.auxv
	if a == nil {
		if a, err = m.dir.auxv(); err != nil {
			return nil, err
		}
	}
	list, err := findLibraries(ctx, m, maps, a)
	if err != nil {
		return nil, err
	}
	if err := m.intact(); err != nil { // maps, auxv and memory are of one program
		return nil, err
	}
	m.mu.Lock()
	m.mapped = all
	m.mu.Unlock()
	return list, nil
}

// findLibraries looks for images at every mapping of the beginning of a file.
func findLibraries(ctx context.Context, r reader, maps []Mapping, a *auxv) ([]*Library, error) {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	f := finder{r: r, maps: maps, next: nextOfFile(maps), taken: make([]bool, len(maps)), auxv: a, head: buf[:headBytes]}
	var list []*Library
	for i := range maps {
		if f.taken[i] || maps[i].File == (FileID{}) || maps[i].Offset != 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		l, err := f.library(i)
		if err != nil {
			return nil, err
		}
		if l == nil {
			continue
		}
		if len(list) == maxLibraries {
			return nil, ErrLimit
		}
		list = append(list, l)
	}
	if err := markStarted(r, list, a); err != nil {
		return nil, err
	}
	return list, nil
}

type finder struct {
	r     reader
	maps  []Mapping
	next  []int32 // see nextOfFile
	taken []bool  // the mappings that belong to an image
	auxv  *auxv
	image image  // the one at hand
	head  []byte // room for the beginning of it
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

// library reads the image that begins at mapping i. The result is nil if it is not ELF, or no code of it is mapped.
func (f *finder) library(i int) (*Library, error) {
	first := &f.maps[i]
	l := &Library{Path: first.Path, Name: path.Base(first.Path), Deleted: first.Deleted, File: first.File,
		Loader: f.auxv.base != 0 && f.auxv.base == first.Start}
	im := &f.image
	err := im.read(f.r, first, f.head)
	switch {
	case errors.Is(err, errNotELF):
		return nil, nil
	case err != nil && !local(err):
		return nil, err
	case err != nil: // no loader could have made it, or it cannot be read any more
		l.Problem = err
		l.Segments = f.untilNext(i)
	default:
		l.Class, l.Machine, l.Type, l.Bias = im.class, im.machine, im.kind, im.bias
		l.Main = f.auxv.phdr != 0 && f.auxv.phdr == im.phdrs
		l.Segments = f.take(i, im)
	}
	if !slices.ContainsFunc(l.Segments, func(s Segment) bool { return s.Perm&PermExec != 0 }) {
		return nil, nil
	}
	if l.Problem != nil {
		return l, nil
	}
	if err := l.describe(f.r, im); err != nil {
		return nil, err
	}
	return l, nil
}

// local says that an error concerns one image and not the whole process.
func local(err error) bool {
	return errors.Is(err, ErrMalformed) || errors.Is(err, ErrUnreadable) || errors.Is(err, ErrLimit)
}

// take returns the mappings that belong to the image.
func (f *finder) take(i int, im *image) []Segment {
	var list []Segment
	for j, end := i, im.end(); ; {
		if !f.taken[j] {
			var s Segment
			if s, f.taken[j] = im.part(&f.maps[j]); f.taken[j] {
				list = append(list, s)
			}
		}
		if j = int(f.next[j]); j == 0 || f.maps[j].Start >= end {
			return list
		}
	}
}

// untilNext returns the mappings of the same file up to the next one of its beginning.
func (f *finder) untilNext(i int) []Segment {
	list := []Segment{segment(&f.maps[i])}
	for j := f.next[i]; j != 0; j = f.next[j] {
		m := &f.maps[j]
		if m.File == (FileID{}) {
			continue
		}
		if m.Offset == 0 {
			break
		}
		list = append(list, segment(m))
	}
	return list
}

func segment(m *Mapping) Segment {
	return Segment{Start: m.Start, End: m.End, Offset: m.Offset, Perm: m.Perm, File: m.File != FileID{}}
}

// describe reads what the image says about itself. Only an error that concerns the whole process is returned.
func (l *Library) describe(r reader, im *image) error {
	idErr := l.readBuildID(r, im)
	dynErr := l.readNames(r, im)
	for _, err := range []error{idErr, dynErr} {
		if err != nil && !local(err) {
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
		l.SONAME, err = l.text(r, d, d.soname, maxFileName)
	}
	return err
}
