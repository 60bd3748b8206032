package process

import (
	"context"
	"slices"
	"sync"

	"github.com/lpbuild/lpbuild/pkg/ulp/internal/procfs"
)

// Mappings calls f with each mapping of the process in ascending order, until it returns false. There may be 65,530 of
// them and more. While the process changes its mappings, what it changes may be missing or be there twice. When the
// context has ended, f is not called any more.
func (m *Memory) Mappings(ctx context.Context, f func(Mapping) bool) error {
	var mu sync.Mutex // of the caller and f
	ended := false
	_, err := with(ctx, m, "maps", func() (struct{}, error) {
		err := m.dir.Mappings(func(l *procfs.Mapping) error {
			next, path := mappingOf(l)
			next.Path = string(path)
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

// fileMappings returns the mappings of files of which some part can be executed, each with the memory without a file
// that follows it without a gap. Code may have been moved into such memory.
func (m *Memory) fileMappings() ([]Mapping, error) {
	var k keeper
	err := m.dir.Mappings(func(l *procfs.Mapping) error { return k.add(mappingOf(l)) })
	if err != nil {
		return nil, err
	}
	k.sweep(0)
	return k.list, nil
}

// keeper collects mappings. A process may map hundreds of thousands of files that are no programs; they are swept out
// when the list is full.
type keeper struct {
	list  []Mapping
	paths int // bytes of the paths in list that are not shared
	code  map[FileID]bool
	tail  int    // how many mappings without a file follow each other
	owner FileID // of those in front of them
}

// Behind the last mapping of a file, at most this many mappings without one are its .bss: permissions may split it.
const maxTail = 4

// The last mappings are spared by a sweep, since the code of their files may be in the lines to come.
const spare = 256

func (k *keeper) add(l Mapping, path []byte) error {
	if l.File == (FileID{}) {
		if n := len(k.list); n == 0 || k.tail == maxTail || len(path) > 0 || k.list[n-1].End != l.Start {
			k.tail = maxTail
			return nil
		}
		k.tail++
		if l.Perm&PermExec != 0 {
			k.executes(k.owner)
		}
	} else {
		k.tail, k.owner = 0, l.File
		if n := len(k.list); n > 0 && k.list[n-1].File == l.File && k.list[n-1].Path == string(path) {
			l.Path = k.list[n-1].Path
		} else {
			l.Path = string(path)
			k.paths += len(l.Path)
		}
		if l.Perm&PermExec != 0 {
			k.executes(l.File)
		}
	}
	if len(k.list) == 1024 { // more than any ordinary process has: do not grow step by step
		k.list = slices.Grow(k.list, maxMappings-len(k.list))
	}
	k.list = append(k.list, l)
	if len(k.list) < maxMappings && k.paths < maxPaths {
		return nil
	}
	if k.sweep(spare); len(k.list) > maxMappings/2 || k.paths > maxPaths/2 {
		return ErrLimit
	}
	return nil
}

// executes remembers that there is code in mappings of a file, or right behind one.
func (k *keeper) executes(f FileID) {
	if k.code == nil {
		k.code = make(map[FileID]bool)
	}
	k.code[f] = true
}

// sweep removes the mappings of files without code, but for the last few.
func (k *keeper) sweep(last int) {
	kept, keep := k.list[:0], false
	k.paths = 0
	for i, m := range k.list {
		if m.File != (FileID{}) {
			keep = k.code[m.File]
		}
		if !keep && i < len(k.list)-last {
			continue
		}
		if n := len(kept); n == 0 || kept[n-1].Path != m.Path {
			k.paths += len(m.Path)
		}
		kept = append(kept, m)
	}
	clear(k.list[len(kept):])
	k.list = kept
}
