package native

import (
	"context"
	"debug/elf"
	"fmt"
	"slices"

	"github.com/lpbuild/lpbuild/internal/hotpatch"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// view is what a plan sees of a process, all of it without stopping it.
type view struct {
	p      *process.Process
	m      processMemory
	libs   []*rtld.Library
	loaded *rtld.LinkMaps
	maps   []rtld.Mapping

	shared *shared // nil: not asked yet
	unwind map[*rtld.Library]*hotpatch.Frames

	cache *Cache                   // nil: nothing is kept
	files map[*rtld.Library]*known // what is known of their files; nil: nothing
}

// memory reads memory; tests forge it.
type memory interface {
	ReadAt(ctx context.Context, b []byte, addr uint64) (int, error)
}

// processMemory is what a view needs of a [*process.Memory]; tests forge it.
type processMemory interface {
	rtld.Process
	Mappings(ctx context.Context, f func(rtld.Mapping) bool) error
}

// maxMappings is how many mappings of a process are kept; the kernel allows 65,530 unless told
// otherwise.
const maxMappings = 1 << 17

// View is what was seen of a process at one moment: several questions can be asked and several
// plans made without looking again. It is good as long as the memory that it was made with is open.
type View struct {
	v  *view
	st *state
}

// NewView looks at a process through memory of it that is open, which has these libraries. The
// error is that of looking into the process, or ErrDamaged.
func NewView(ctx context.Context, p *process.Process, m *process.Memory,
	libs []*rtld.Library) (*View, error) {
	return (*Cache)(nil).NewView(ctx, p, m, libs)
}

// Alone returns a [*SharedError] if another process has the memory of this one, as it was when that
// was asked first.
func (v *View) Alone() error { return pidError(v.v.p.PID, "", v.v.alone()) }

// blankView is a view of which nothing has been read yet.
func blankView(p *process.Process, m processMemory, libs []*rtld.Library) *view {
	v := &view{p: p, m: m, libs: libs, unwind: map[*rtld.Library]*hotpatch.Frames{},
		files: map[*rtld.Library]*known{}}
	v.loaded = rtld.NewLinkMaps(m, libs, fileFacts{v})
	return v
}

func newView(ctx context.Context, c *Cache, p *process.Process, m *process.Memory,
	libs []*rtld.Library) (*View, error) {
	v := blankView(p, m, libs)
	v.cache = c
	if v.maps = m.Mapped(); v.maps == nil {
		if err := v.read(ctx); err != nil {
			return nil, err
		}
	}
	st, err := v.steadyState(ctx)
	if err == nil {
		err = st.markUnloaded(ctx, v)
	}
	return &View{v, st}, err
}

// see runs f with a view of a process of which nothing is open yet.
func see[T any](ctx context.Context, p *process.Process,
	f func(context.Context, *View) (T, error)) (T, error) {
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

// copies finds the library with a build-id: more than once if it is in several namespaces
// (dlmopen).
func (v *view) copies(t ulp.Target) ([]*rtld.Library, error) {
	var found []*rtld.Library
	for _, l := range v.libs {
		if !slices.Equal(l.BuildID, t.BuildID) || len(l.BuildID) == 0 {
			continue
		}
		if l.Machine != elf.EM_X86_64 || l.Class != elf.ELFCLASS64 {
			return nil, fmt.Errorf("%s: %w: a library for %v", t.Name, symtab.ErrUnsupported,
				l.Machine)
		}
		found = append(found, l)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s with build-id %x: %w", t.Name, t.BuildID, ErrNoLibrary)
	}
	return found, nil
}

// hasLoader reports whether the process was started with a dynamic loader.
func (v *view) hasLoader() bool {
	return slices.ContainsFunc(v.libs, func(l *rtld.Library) bool { return l.Loader })
}
