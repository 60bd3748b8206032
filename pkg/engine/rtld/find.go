package rtld

import (
	"context"
	"errors"
	"path"
	"slices"
	"sync"
)

// Auxv is what the kernel told the program about itself and its loader (getauxval(3)).
type Auxv struct {
	Phdr uint64 // AT_PHDR: the program headers of the program; 0 if unknown
	Base uint64 // AT_BASE: where the dynamic loader is; 0 if there is none
}

// FindLibraries returns the ELF images of which a mapping of the beginning of a file is code, in
// the order of maps. These are the mappings of files that have code, and of the memory that follows
// each without a gap.
//
// The error is ErrLimit for more than 2,048 images, that of the context, or one of r that is about
// no image alone.
func FindLibraries(ctx context.Context, r Reader, maps []Mapping, a Auxv) ([]*Library, error) {
	buf := heads.Get().(*[headSize]byte)
	defer heads.Put(buf)
	f := finder{r: r, maps: maps, next: nextOfFile(maps), taken: make([]bool, len(maps)), auxv: a,
		head: buf[:]}
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

// heads are buffers for the beginnings of images.
var heads = sync.Pool{New: func() any { return new([headSize]byte) }}

// finder finds the images in the mappings of a process.
type finder struct {
	r     Reader
	maps  []Mapping
	next  []int32 // see nextOfFile
	taken []bool  // the mappings that belong to an image
	auxv  Auxv
	image image  // the one at hand
	head  []byte // room for the beginning of it
}

// nextOfFile returns for each mapping the index of the next one of the same file or of the memory
// after it; 0 if none.
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

// library reads the image that begins at mapping i. The result is nil if it is not ELF, or no code
// of it is mapped.
func (f *finder) library(i int) (*Library, error) {
	first := &f.maps[i]
	l := &Library{Path: first.Path, Name: path.Base(first.Path), Deleted: first.Deleted,
		File: first.File, Loader: f.auxv.Base != 0 && f.auxv.Base == first.Start}
	im := &f.image
	err := im.read(f.r, first, f.head)
	switch {
	case errors.Is(err, errNotELF):
		return nil, nil
	case err != nil && !Local(err):
		return nil, err
	case err != nil: // no loader could have made it, or it cannot be read any more
		l.Problem = err
		l.Segments = f.untilNext(i)
	default:
		l.Class, l.Machine, l.Type, l.Bias, l.ehFrame = im.class, im.machine, im.kind, im.bias,
			im.ehFrame
		l.Main = f.auxv.Phdr != 0 && f.auxv.Phdr == im.phdrs
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
	return Segment{Start: m.Start, End: m.End, Offset: m.Offset, Perm: m.Perm,
		File: m.File != FileID{}}
}
