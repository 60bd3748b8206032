package buildmatrix

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/compile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/gate"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/progress"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// ErrRefused means that at least one cell has no container.
var ErrRefused = errors.New("not every live patch could be made")

// Options is how to build.
type Options struct {
	Jobs     int           // cells worked on at once; 0: one per CPU
	Only     []symtab.Arch // architectures; empty: all of the configuration
	Group    Group         // builds; zero: all
	Tool     string        // name and version of this program, for the report
	Progress progress.Func
}

// matrix is one build under way.
type matrix struct {
	Options
	config *config.Config
	lock   *download.Lock
	dir    string // the build directory
	runs   atomic.Int64

	mu        sync.Mutex
	libraries map[string]func() (*symtab.Library, error)
	exports   map[string]func() (gate.Exports, error)
	compilers map[symtab.Arch]*compile.Compiler
}

func newMatrix(c *config.Config, l *download.Lock, o Options) *matrix {
	return &matrix{
		Options: o, config: c, lock: l, dir: filepath.Join(c.Dir, config.BuildDir),
		libraries: map[string]func() (*symtab.Library, error){},
		exports:   map[string]func() (gate.Exports, error){},
		compilers: map[symtab.Arch]*compile.Compiler{},
	}
}

// Build makes every container of the matrix and the report. The error is [ErrRefused] if any cell
// has no container; the report says which and why. After any other error there is no report.
//
// With o.Only, the result covers those architectures alone; the file that is written keeps the
// cells of the others unless something they depend on has changed. With o.Group, report and build
// directory have that group only.
func Build(ctx context.Context, c *config.Config, l *download.Lock, o Options) (*Report, error) {
	m := newMatrix(c, l, o)
	cells := Cells(c, l)
	jobs := newJobs(o.Group.Cells(cells))
	asked := slices.DeleteFunc(slices.Clone(jobs), func(j *job) bool { return !m.asked(j.Arch) })
	if len(asked) == 0 {
		return nil, m.emptyMatrix(len(cells))
	}
	former, err := ReadReport(m.dir)
	if err != nil {
		former = nil // none, or one that nothing can be learned from
	}
	inputs := map[string]bool{}
	if err := m.run(ctx, asked, inputs); err != nil {
		return nil, err
	}
	kept := m.adopt(jobs, former, inputs)
	r := &Report{
		Format: ReportFormat, Name: c.Name, Version: c.Version, Tool: o.Tool,
		Unsigned: l.IsUnsigned(), Group: o.Group.String(),
		CompilerRuns: int(m.runs.Load()), Cells: []CellInfo{}, Inputs: append([]string{},
			slices.Sorted(maps.Keys(inputs))...),
	}
	for _, j := range jobs {
		if m.asked(j.Arch) || kept[j.Arch] {
			r.Cells = append(r.Cells, *j.info)
		}
	}
	r.Cells = append(r.Cells, m.withoutBuilds(newJobs(cells))...)
	m.removeStale(former, r)
	if err := r.write(m.dir); err != nil {
		return nil, err
	}
	r.Cells = slices.DeleteFunc(r.Cells, func(c CellInfo) bool {
		return !m.asked(symtab.Arch(c.Arch))
	})
	if n := r.Count(Refused, Failed); n > 0 {
		return r, fmt.Errorf("%w: %d of %d cells", ErrRefused, n, len(r.Cells))
	}
	return r, nil
}

func (m *matrix) asked(arch symtab.Arch) bool {
	return len(m.Only) == 0 || slices.Contains(m.Only, arch)
}

// run compiles all cells, one patch and architecture after the other, and then packs them, many at
// once: by then everything that a cell depends on is known. It adds the files of the package that
// were read to inputs.
func (m *matrix) run(ctx context.Context, jobs []*job, inputs map[string]bool) error {
	for group := range slices.Values(groups(jobs)) {
		if err := m.compile(ctx, group, inputs); err != nil {
			return err
		}
	}
	if err := m.each(ctx, jobs, m.prepare); err != nil {
		return err
	}
	refuseDoubles(jobs)
	if err := m.refuseShadowed(jobs); err != nil {
		return err
	}
	return m.each(ctx, jobs, m.finish)
}

// groups returns the jobs of each patch and architecture.
func groups(jobs []*job) [][]*job {
	var all [][]*job
	for _, j := range jobs {
		if n := len(all); n > 0 && all[n-1][0].Patch == j.Patch && all[n-1][0].Arch == j.Arch {
			all[n-1] = append(all[n-1], j)
		} else {
			all = append(all, []*job{j})
		}
	}
	return all
}

// each calls f for every job that has not been refused, several at once.
func (m *matrix) each(ctx context.Context, jobs []*job, f func(context.Context, *job) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(cmp.Or(max(0, m.Jobs), runtime.GOMAXPROCS(0)))
	for _, j := range jobs {
		if gctx.Err() != nil {
			break
		}
		if j.info.Status == Built {
			g.Go(func() error { return f(gctx, j) })
		}
	}
	return cmp.Or(g.Wait(), context.Cause(ctx))
}

// compile finds or makes the objects for the cells of one patch and architecture.
func (m *matrix) compile(ctx context.Context, group []*job, inputs map[string]bool) error {
	first := group[0]
	cc, err := m.compiler(first.Arch)
	if errors.Is(err, compile.ErrNoCompiler) {
		for _, j := range group {
			j.refuse(Failed, gate.Reason{Code: "no-compiler", Message: err.Error()})
		}
		return nil
	}
	if err != nil {
		return err
	}
	o, err := compile.Open(m.dir, m.config, first.Patch, first.Arch, cc)
	if err != nil {
		return err
	}
	m.Progress.Emit(progress.Event{Stage: "compile", Task: first.Patch.Description,
		Total: int64(len(group))})
	for i, j := range group {
		j.objects = o
		if j.object, err = o.ForBuild(ctx, j.Build); err != nil && !j.refuseUncompiled(err) ||
			ctx.Err() != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
		m.Progress.Emit(progress.Event{Stage: "compile", Task: first.Patch.Description,
			Done: int64(i + 1), Total: int64(len(group))})
	}
	for _, name := range o.Inputs() {
		inputs[name] = true
	}
	return o.Save()
}

func (m *matrix) compiler(arch symtab.Arch) (*compile.Compiler, error) {
	if cc, ok := m.compilers[arch]; ok {
		return cc, nil
	}
	dir, err := filepath.Abs(m.config.Dir)
	if err != nil {
		return nil, err
	}
	cc, err := compile.Find(arch, dir, &m.runs)
	m.compilers[arch] = cc
	return cc, err
}
