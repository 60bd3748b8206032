package native

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"slices"

	"github.com/lpbuild/lpbuild/internal/hotpatch"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// view is what a plan sees of a process, all of it without stopping it.
type view struct {
	p      *process.Process
	m      processMemory
	libs   []*rtld.Library
	main   *rtld.Library // nil: not recognised
	spaces []namespace   // what the dynamic loader has loaded; nil: not read yet
	maps   []rtld.Mapping

	shared  *shared // nil: not asked yet
	settled bool    // libs was looked at again after the lists, and was the same

	symbols map[*rtld.Library]*rtld.Symbols
	dyn     map[*rtld.Library]*dynamic
	bound   map[*rtld.Library][]exported
	unwind  map[*rtld.Library]*hotpatch.Frames

	cache *Cache                   // nil: nothing is kept
	files map[*rtld.Library]*known // what is known of their files; nil: nothing
}

// processMemory is what a view needs of a [*process.Memory]; tests forge it.
type processMemory interface {
	memory
	Libraries(ctx context.Context) ([]*rtld.Library, error)
	Mappings(ctx context.Context, f func(rtld.Mapping) bool) error
	Symbols(ctx context.Context, l *rtld.Library) (*rtld.Symbols, error)
}

// maxMappings is how many mappings of a process are kept; the kernel allows 65,530 unless told otherwise.
const maxMappings = 1 << 17

// View is what was seen of a process at one moment: several questions can be asked and several plans made without looking
// again. It is good as long as the memory that it was made with is open.
type View struct {
	v  *view
	st *state
}

// NewView looks at a process through memory of it that is open, which has these libraries. The error is that of looking into
// the process, or ErrDamaged.
func NewView(ctx context.Context, p *process.Process, m *process.Memory, libs []*rtld.Library) (*View, error) {
	return (*Cache)(nil).NewView(ctx, p, m, libs)
}

// Alone returns a [*SharedError] if another process has the memory of this one, as it was when that was asked first.
func (v *View) Alone() error { return pidError(v.v.p.PID, "", v.v.alone()) }

// blankView is a view of which nothing has been read yet.
func blankView(p *process.Process, m processMemory, libs []*rtld.Library) *view {
	v := &view{p: p, m: m, libs: libs, symbols: map[*rtld.Library]*rtld.Symbols{}, dyn: map[*rtld.Library]*dynamic{},
		bound: map[*rtld.Library][]exported{}, unwind: map[*rtld.Library]*hotpatch.Frames{}, files: map[*rtld.Library]*known{}}
	if i := slices.IndexFunc(libs, func(l *rtld.Library) bool { return l.Main }); i >= 0 {
		v.main = libs[i]
	}
	return v
}

func newView(ctx context.Context, c *Cache, p *process.Process, m *process.Memory, libs []*rtld.Library) (*View, error) {
	v := blankView(p, m, libs)
	v.cache = c
	if v.maps = m.Mapped(); v.maps == nil {
		if err := v.read(ctx); err != nil {
			return nil, err
		}
	}
	st, err := v.steadyState(ctx)
	if err == nil {
		err = st.settle(ctx, v)
	}
	return &View{v, st}, err
}

// see runs f with a view of a process of which nothing is open yet.
func see[T any](ctx context.Context, p *process.Process, f func(context.Context, *View) (T, error)) (T, error) {
	return process.Whole(ctx, func(ctx context.Context) (T, error) {
		var zero T
		m, err := p.Memory(ctx)
		if err != nil {
			return zero, err
		}
		defer m.Close()
		libs, err := m.Libraries(ctx)
		if err != nil {
			return zero, err
		}
		v, err := newView(ctx, nil, p, m, libs)
		if err != nil {
			return zero, err
		}
		return f(ctx, v)
	})
}

func (v *view) read(ctx context.Context) error {
	err := v.m.Mappings(ctx, func(m rtld.Mapping) bool {
		v.maps = append(v.maps, m)
		return len(v.maps) < maxMappings
	})
	if err != nil {
		return err
	}
	if len(v.maps) == maxMappings {
		return fmt.Errorf("%d mappings: %w", len(v.maps), ErrLimit)
	}
	return nil
}

// copies finds the library with a build-id: more than once if it is in several namespaces (dlmopen).
func (v *view) copies(t ulp.Target) ([]*rtld.Library, error) {
	var found []*rtld.Library
	for _, l := range v.libs {
		if !slices.Equal(l.BuildID, t.BuildID) || len(l.BuildID) == 0 {
			continue
		}
		if l.Machine != elf.EM_X86_64 || l.Class != elf.ELFCLASS64 {
			return nil, fmt.Errorf("%s: %w: a library for %v", t.Name, ulp.ErrUnsupported, l.Machine)
		}
		found = append(found, l)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s with build-id %x: %w", t.Name, t.BuildID, ErrNoLibrary)
	}
	return found, nil
}

// dynamic is the dynamic section of a loaded library.
type dynamic struct {
	l      *rtld.Library
	values map[elf.DynTag]uint64 // of the first entry of each tag
}

const (
	maxHeaders = 128
	maxDynamic = 1024
)

// dynamicOf reads a library's dynamic section from the process.
func (v *view) dynamicOf(ctx context.Context, l *rtld.Library) (*dynamic, error) {
	if d := v.dyn[l]; d != nil {
		return d, nil
	}
	if l.Problem != nil || len(l.Segments) == 0 || l.Class != elf.ELFCLASS64 {
		return nil, fmt.Errorf("library %q: %w", l.Name, process.ErrMalformed)
	}
	at, size, err := v.programHeader(ctx, l, elf.PT_DYNAMIC)
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(size, maxDynamic*16)&^15)
	if len(b) == 0 || !l.Contains(at, uint64(len(b))) {
		return nil, fmt.Errorf("library %q: dynamic section: %w", l.Name, process.ErrMalformed)
	}
	if _, err := v.m.ReadAt(ctx, b, at); err != nil {
		return nil, err
	}
	d := &dynamic{l: l, values: map[elf.DynTag]uint64{}}
	for ; len(b) >= 16 && le.Uint64(b) != 0; b = b[16:] {
		tag := elf.DynTag(le.Uint64(b))
		if _, ok := d.values[tag]; !ok {
			d.values[tag] = le.Uint64(b[8:])
		}
	}
	v.dyn[l] = d
	return d, nil
}

// programHeader finds a segment in the program headers in memory; size 0: there is none.
func (v *view) programHeader(ctx context.Context, l *rtld.Library, want elf.ProgType) (at, size uint64, err error) {
	var head [64]byte
	start := l.Segments[0].Start
	if _, err := v.m.ReadAt(ctx, head[:], start); err != nil {
		return 0, 0, err
	}
	count, off := min(int(le.Uint16(head[56:])), maxHeaders), le.Uint64(head[32:])
	table := make([]byte, count*56)
	if off > maxSpan || !l.Contains(start+off, uint64(len(table))) {
		return 0, 0, fmt.Errorf("library %q: program headers: %w", l.Name, process.ErrMalformed)
	}
	if _, err := v.m.ReadAt(ctx, table, start+off); err != nil {
		return 0, 0, err
	}
	for ; len(table) >= 56; table = table[56:] {
		if elf.ProgType(le.Uint32(table)) == want {
			return l.Bias + le.Uint64(table[16:]), le.Uint64(table[40:]), nil
		}
	}
	return 0, 0, nil
}

// table reads a table that two entries describe, whole rows of it; nil if there is none.
func (v *view) table(ctx context.Context, d *dynamic, at, size elf.DynTag, row, most uint64) ([]byte, error) {
	n := d.values[size] / row * row
	addr := d.place(at)
	if n == 0 || addr == 0 {
		return nil, nil
	}
	if n > most || !d.l.Contains(addr, n) {
		return nil, fmt.Errorf("library %q: %v: %w", d.l.Name, at, process.ErrMalformed)
	}
	b := make([]byte, n)
	_, err := v.m.ReadAt(ctx, b, addr)
	return b, err
}

// place returns the address in an entry: glibc has added the bias to most of them, other loaders have not.
func (d *dynamic) place(tag elf.DynTag) uint64 {
	a := d.values[tag]
	if a == 0 || d.l.Contains(a, 1) {
		return a
	}
	return a + d.l.Bias
}

// symbolsOf opens a library's symbol table, once.
func (v *view) symbolsOf(ctx context.Context, l *rtld.Library) (*rtld.Symbols, error) {
	if s, ok := v.symbols[l]; ok {
		return s, nil
	}
	s, err := v.m.Symbols(ctx, l)
	if err != nil && !errors.Is(err, process.ErrMalformed) && !errors.Is(err, process.ErrUnreadable) {
		return nil, err
	}
	v.symbols[l] = s // nil: it defines nothing that can be read
	return s, nil
}

// word reads 8 bytes.
func (v *view) word(ctx context.Context, addr uint64) (uint64, error) {
	var b [8]byte
	_, err := v.m.ReadAt(ctx, b[:], addr)
	return le.Uint64(b[:]), err
}

// hasLoader says whether the process was started with a dynamic loader.
func (v *view) hasLoader() bool {
	return slices.ContainsFunc(v.libs, func(l *rtld.Library) bool { return l.Loader })
}
