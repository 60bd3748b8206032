package process

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// Mappings calls f with each mapping of the process in ascending order, until it returns false.
// There may be 65,530 of them and more, so of each Path there are at most 64 bytes: they tell kinds
// of memory apart. While the process changes its mappings, what it changes may be missing or be
// there twice. When the context has ended, f is not called any more.
func (m *Memory) Mappings(ctx context.Context, f func(rtld.Mapping) bool) error {
	var mu sync.Mutex // of the caller and f
	ended := false
	_, err := with(ctx, m, "maps", func() (struct{}, error) {
		var s shortener
		err := m.dir.Mappings(func(l *procfs.Mapping) error {
			next := s.shorten(mappingOf(l))
			mu.Lock()
			defer mu.Unlock()
			if ended || !f(next) {
				return procfs.ErrStop
			}
			return nil
		})
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, m.intact()
	})
	mu.Lock()
	defer mu.Unlock()
	ended = true
	return err
}

// Mapped returns the mappings that [Memory.Mappings] would have told of when Libraries was called
// last. It is nil if they were too many to be kept, or were never read.
func (m *Memory) Mapped() []rtld.Mapping {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mapped
}

// MappingAt returns the mapping that holds an address; ok is false if none does. It is one of those
// that [Memory.Mapped] has, if there are any.
func (m *Memory) MappingAt(ctx context.Context, addr uint64) (found rtld.Mapping, ok bool,
	err error) {
	holds := func(x rtld.Mapping) bool { return addr >= x.Start && addr < x.End }
	if all := m.Mapped(); all != nil {
		if i := slices.IndexFunc(all, holds); i >= 0 {
			return all[i], true, nil
		}
		return rtld.Mapping{}, false, nil
	}
	err = m.Mappings(ctx, func(x rtld.Mapping) bool {
		if ok = holds(x); ok {
			found = x
		}
		return !ok
	})
	return found, ok && err == nil, err
}

// shortener gives mappings their paths, cut off after shortPath bytes.
type shortener struct{ last string }

func (s *shortener) shorten(m rtld.Mapping, path []byte) rtld.Mapping {
	if path = path[:min(len(path), shortPath)]; string(path) != s.last {
		// most follow others of the same file
		s.last = string(path)
	}
	m.Path = s.last
	return m
}

// readMappings returns the mappings of files of which some part can be executed, each with the
// memory without a file that follows it without a gap, into which code may have been moved; and all
// mappings, nil if there are more than maxMapped.
func (m *Memory) readMappings() (files, all []rtld.Mapping, err error) {
	var k keeper
	var s shortener
	all = make([]rtld.Mapping, 0, 64)
	err = m.dir.Mappings(func(l *procfs.Mapping) error {
		next, path := mappingOf(l)
		switch {
		case all == nil:
		case len(all) == maxMapped:
			all = nil
		default:
			all = append(all, s.shorten(next, path))
		}
		return k.add(next, path)
	})
	if err != nil {
		return nil, nil, err
	}
	return k.finish(), all, nil
}

// keeper collects mappings. A process may map hundreds of thousands of files that are no programs;
// they are swept out when the list is full. Paths become strings at the end only, so that one which
// is not kept costs no memory.
type keeper struct {
	list  []rtld.Mapping // without Path
	at    []piece        // the path of each
	paths []byte         // the paths, in the order of the list; neighbours share one
	code  map[rtld.FileID]bool
	tail  int         // how many mappings without a file follow each other
	owner rtld.FileID // of those before them
}

// piece is a part of keeper.paths.
type piece struct{ from, to int32 }

// After the last mapping of a file, at most this many mappings without one are its .bss:
// permissions may split it.
const maxTail = 4

// The last mappings are spared by a sweep, since the code of their files may be in the lines to
// come.
const spare = 256

func (k *keeper) add(l rtld.Mapping, path []byte) error {
	var at piece
	if l.File == (rtld.FileID{}) {
		if n := len(k.list); n == 0 || k.tail == maxTail || len(path) > 0 ||
			k.list[n-1].End != l.Start {
			k.tail = maxTail
			return nil
		}
		k.tail++
		if l.Perm&rtld.PermExec != 0 {
			k.executes(k.owner)
		}
	} else {
		k.tail, k.owner = 0, l.File
		at = k.keep(l.File, path)
		if l.Perm&rtld.PermExec != 0 {
			k.executes(l.File)
		}
	}
	if len(k.list) == 1024 { // more than any ordinary process has: do not grow step by step
		k.list, k.at = slices.Grow(k.list, maxMappings-len(k.list)),
			slices.Grow(k.at, maxMappings-len(k.at))
	}
	k.list, k.at = append(k.list, l), append(k.at, at)
	if len(k.list) < maxMappings && len(k.paths) < maxPaths {
		return nil
	}
	if k.sweep(k.spared()); len(k.list) > maxMappings/2 || len(k.paths) > maxPaths/2 {
		return ErrLimit
	}
	return nil
}

// spared returns how many of the last mappings to spare: fewer where their paths are long.
func (k *keeper) spared() int {
	n := 0
	for size := 0; n < min(spare, len(k.list)); n++ {
		at := k.at[len(k.at)-1-n]
		if size += int(at.to - at.from); size > maxPaths/4 {
			break
		}
	}
	return n
}

// keep keeps the path of the next mapping.
func (k *keeper) keep(f rtld.FileID, path []byte) piece {
	if n := len(k.list); n > 0 && k.list[n-1].File == f {
		if at := k.at[n-1]; string(k.paths[at.from:at.to]) == string(path) {
			return at
		}
	}
	if len(k.paths) > maxPaths/16 {
		k.paths = slices.Grow(k.paths, maxPaths+maxPath-len(k.paths))
	}
	from := int32(len(k.paths))
	k.paths = append(k.paths, path...)
	return piece{from, int32(len(k.paths))}
}

// executes remembers that there is code in mappings of a file, or right after one.
func (k *keeper) executes(f rtld.FileID) {
	if k.code == nil {
		k.code = make(map[rtld.FileID]bool)
	}
	k.code[f] = true
}

// sweep removes the mappings of files without code, but for the last few, and their paths.
func (k *keeper) sweep(last int) {
	kept, keep, before := 0, false, piece{}
	var moved piece // where before is now
	paths := k.paths[:0]
	for i, m := range k.list {
		if m.File != (rtld.FileID{}) {
			keep = k.code[m.File]
		}
		if !keep && i < len(k.list)-last {
			continue
		}
		at := k.at[i]
		if at != before || at == (piece{}) {
			before = at
			from := int32(len(paths))
			// what is there was moved, or is not kept
			paths = append(paths, k.paths[at.from:at.to]...)
			moved = piece{from, int32(len(paths))}
		}
		k.list[kept], k.at[kept] = m, moved
		kept++
	}
	k.list, k.at, k.paths = k.list[:kept], k.at[:kept], paths
}

// finish returns the mappings of files with code.
func (k *keeper) finish() []rtld.Mapping {
	k.sweep(0)
	paths := string(k.paths)
	for i, at := range k.at {
		k.list[i].Path = paths[at.from:at.to]
	}
	return k.list
}

// mappingOf makes a Mapping of the kernel's line, but for its Path: that is still a part of a
// buffer, and is returned.
func mappingOf(l *procfs.Mapping) (rtld.Mapping, []byte) {
	m := rtld.Mapping{Start: l.Start, End: l.End, Offset: l.Offset, Perm: rtld.Perm(l.Perm),
		File: rtld.FileID{Dev: l.Dev, Inode: l.Inode}}
	path, deleted := bytes.CutSuffix(l.Path, []byte(" (deleted)"))
	m.Deleted = deleted
	return m, path[:min(len(path), maxPath)]
}
