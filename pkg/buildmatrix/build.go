package buildmatrix

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/lpbuild/lpbuild/pkg/atomicfile"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/progress"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// BuildDir is the folder for containers and report below a package folder.
const BuildDir = "build"

// ErrRefused says that at least one cell has no container.
var ErrRefused = errors.New("not every live patch could be made")

// Options is how to build.
type Options struct {
	Jobs     int        // cells worked on at once; 0: one per CPU
	Only     []ulp.Arch // architectures; empty: all of the configuration
	Tool     string     // name and version of this program, for the report
	Progress progress.Func
}

// matrix is one build under way.
type matrix struct {
	Options
	config *Config
	lock   *download.Lock
	dir    string // the build folder
	runs   atomic.Int64

	mu        sync.Mutex
	libraries map[string]func() (*ulp.Library, error)
	exports   map[string]func() (exports, error)
	compilers map[ulp.Arch]*compiler
}

// Build makes every container of the matrix and the report. The error is [ErrRefused] if any cell is without a container;
// the report says which and why. Any other error means that the whole could not be judged, and there is no report.
func Build(ctx context.Context, c *Config, l *download.Lock, o Options) (*Report, error) {
	m := &matrix{
		Options: o, config: c, lock: l, dir: filepath.Join(c.Dir, BuildDir),
		libraries: map[string]func() (*ulp.Library, error){}, exports: map[string]func() (exports, error){},
		compilers: map[ulp.Arch]*compiler{},
	}
	cells := m.cells()
	if len(cells) == 0 {
		return nil, fmt.Errorf("%s: the matrix is empty: no build in %s fits the version ranges of packages and patches", c.Path, LockName)
	}
	former, err := ReadReport(m.dir)
	if err != nil {
		former = nil // none, or one that nothing can be learned from
	}
	r := &Report{Format: ReportFormat, Name: c.Name, Version: c.Version, Tool: o.Tool, Unsigned: l.IsUnsigned()}
	if err := m.run(ctx, cells, r); err != nil {
		return nil, err
	}
	r.CompilerRuns = int(m.runs.Load())
	r.Cells = append(r.Cells, m.withoutBuilds(cells)...)
	m.removeStale(former, r)
	if err := r.write(m.dir); err != nil {
		return nil, err
	}
	if n := r.Count(Refused, Failed); n > 0 {
		return r, fmt.Errorf("%w: %d of %d cells", ErrRefused, n, len(r.Cells))
	}
	return r, nil
}

// cells returns what of the matrix is asked for.
func (m *matrix) cells() []Cell {
	return slices.DeleteFunc(Cells(m.config, m.lock), func(c Cell) bool { return !m.asked(c.Arch) })
}

// withoutBuilds returns a refused cell for each patch and architecture that no build of the lock is for: a fix that is
// silently left out would be worse than one that fails.
func (m *matrix) withoutBuilds(cells []Cell) []CellInfo {
	var empty []CellInfo
	for _, arch := range m.config.Arch {
		for i := range m.config.Patches {
			p := &m.config.Patches[i]
			if !m.asked(arch) || slices.ContainsFunc(cells, func(c Cell) bool { return c.Patch == p && c.Arch == arch }) {
				continue
			}
			empty = append(empty, CellInfo{
				Status: Refused, Patch: p.Description, Library: p.Library, Arch: string(arch),
				Reasons: []Reason{{
					Code: "no-build", Where: p.Pos.String(),
					Message: fmt.Sprintf("%s has no build for %s that contains %s and fits the version ranges", LockName, arch, p.Library),
					Hint:    "run lpbuild download again, or correct \"arch\", \"builds\" and \"library\"",
				}},
			})
		}
	}
	return empty
}

func (m *matrix) asked(arch ulp.Arch) bool { return len(m.Only) == 0 || slices.Contains(m.Only, arch) }

// job is a cell on its way through the stages.
type job struct {
	Cell
	info        *CellInfo
	description *ulp.Description
	text        []byte // of the expanded description
	object      *object
}

// run takes all cells through compiling, one patch and architecture after the other, and then through packing, many at
// once: by then it is known what the packing of each depends on.
func (m *matrix) run(ctx context.Context, cells []Cell, r *Report) error {
	r.Cells = make([]CellInfo, len(cells))
	jobs := make([]*job, len(cells))
	for i, c := range cells {
		r.Cells[i] = CellInfo{
			Status: Built, Patch: c.Patch.Description, Library: c.Patch.Library, Package: c.Build.Name,
			Version: c.Build.Version, Release: c.Build.Release, Arch: string(c.Arch), Target: c.Library.BuildID,
		}
		jobs[i] = &job{Cell: c, info: &r.Cells[i]}
	}
	inputs := map[string]bool{}
	for group := range slices.Values(groups(jobs)) {
		if err := m.compile(ctx, group, inputs); err != nil {
			return err
		}
	}
	r.Inputs = sorted(slices.Collect(maps.Keys(inputs)))
	if err := m.each(ctx, jobs, m.prepare); err != nil {
		return err
	}
	refuseDoubles(jobs)
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
	if errors.Is(err, ErrNoCompiler) {
		for _, j := range group {
			j.refuse(Failed, Reason{Code: "no-compiler", Message: err.Error()})
		}
		return nil
	}
	if err != nil {
		return err
	}
	o, err := newObjects(m.dir, m.config, first.Patch, first.Arch, cc)
	if err != nil {
		return err
	}
	m.Progress.Emit(progress.Event{Stage: "compile", Task: first.Patch.Description, Total: int64(len(group))})
	for i, j := range group {
		if j.object, err = o.forBuild(ctx, j.Build); err != nil {
			var failed *CompileError
			if ctx.Err() != nil || !errors.As(err, &failed) {
				return cmp.Or(context.Cause(ctx), err)
			}
			j.refuse(Failed, Reason{Code: "compiler", Message: err.Error(), Shown: err.Error() + "\n"})
		}
		m.Progress.Emit(progress.Event{Stage: "compile", Task: first.Patch.Description, Done: int64(i + 1), Total: int64(len(group))})
	}
	for name := range o.manifest.Files {
		if rel, ok := m.inside(name); ok {
			inputs[rel] = true
		}
	}
	return o.save()
}

// inside returns the name below the package folder of a file that the compiler read, if it lies there.
func (m *matrix) inside(name string) (string, bool) {
	if filepath.IsAbs(name) {
		rel, err := filepath.Rel(m.config.Dir, name)
		if err != nil {
			return "", false
		}
		name = rel
	}
	name = filepath.Clean(name)
	return filepath.ToSlash(name), filepath.IsLocal(name) && !strings.HasPrefix(name, BuildDir+string(filepath.Separator))
}

func (m *matrix) compiler(arch ulp.Arch) (*compiler, error) {
	if cc, ok := m.compilers[arch]; ok {
		return cc, nil
	}
	dir, err := filepath.Abs(m.config.Dir)
	if err != nil {
		return nil, err
	}
	cc, err := findCompiler(arch, dir, &m.runs)
	m.compilers[arch] = cc
	return cc, err
}

func (j *job) refuse(s Status, reasons ...Reason) {
	j.info.Status, j.info.Container, j.info.Reasons = s, "", append(j.info.Reasons, reasons...)
}

// prepare expands the description, which needs the library's catalogue only if it has patterns.
func (m *matrix) prepare(_ context.Context, j *job) error {
	name := m.config.File(j.Patch.Description)
	text, err := readBounded(name, maxConfig)
	if err != nil {
		return err
	}
	template, err := ulp.ParseDescription(name, text)
	if err != nil {
		j.refuse(Refused, reasonsOf(err)...)
		return nil
	}
	lib, err := m.library(j.Library)
	if err != nil {
		return err
	}
	if j.description, err = template.Expand(j.expansion(), lib); err != nil {
		j.refuse(Refused, reasonsOf(err)...)
		return nil
	}
	j.text = []byte(j.description.String())
	j.info.Container = j.description.Container.Text
	for _, f := range j.description.Functions {
		j.info.Functions = append(j.info.Functions, f.Old.Text)
	}
	exported := ""
	if j.Build.Exports != nil {
		exported = j.Build.Exports.Digest.String()
	}
	j.info.Key = hashOf(gateVersion, j.object.digest, string(j.text), j.Library.Pinned.String(), exported, m.othersKey(j))
	return nil
}

// gateVersion changes when the same cell could be judged or packed in another way than before.
const gateVersion = "1"

// refuseDoubles refuses cells whose containers would overwrite each other.
func refuseDoubles(jobs []*job) {
	first := map[string]*job{}
	for _, j := range jobs {
		if j.info.Status != Built {
			continue
		}
		name := j.info.Arch + "/" + j.info.Container
		if other, met := first[name]; met {
			j.refuse(Refused, Reason{
				Code: "same-name", Message: fmt.Sprintf("%s would be the container of %s, too", name, other.Name()),
				Hint: "put {version}-{release} and a number of its own (livepatch1, livepatch2) into each container's name",
			})
			continue
		}
		first[name] = j
	}
}

// finish gates and packs a cell. That takes a millisecond and is never skipped, so that no verdict outlives what it was
// made from; a container that is already there with these bytes is not written again.
func (m *matrix) finish(_ context.Context, j *job) error {
	target := filepath.Join(m.dir, j.info.Arch, j.info.Container)
	lib, err := m.library(j.Library)
	if err != nil {
		return err
	}
	p, err := m.providers(j)
	if err != nil {
		return err
	}
	if reasons := gate(j.description, j.object.container, lib, p); len(reasons) > 0 {
		j.refuse(Refused, reasons...)
		return nil
	}
	image, err := ulp.Pack(j.description, j.text, j.object.container, lib, ulp.PackOptions{AllComments: true})
	if err != nil {
		j.refuse(Refused, reasonsOf(err)...)
		return nil
	}
	j.info.Digest = digest.OfBytes(image)
	if d, err := digest.OfFile(target); err == nil && d == j.info.Digest {
		return nil
	}
	j.info.Fresh = true
	m.Progress.Emit(progress.Event{Stage: "pack", Task: j.info.Container, Final: true})
	return atomicfile.Write(target, image, 0o755)
}

// removeStale removes the containers of the last report that this one does not have, but for those of architectures that
// were not asked for this time.
func (m *matrix) removeStale(former, r *Report) {
	if former == nil {
		return
	}
	now := map[string]bool{}
	for _, c := range r.Containers() {
		now[filepath.Join(c.Arch, c.Container)] = true
	}
	for _, c := range former.Containers() {
		arch := ulp.Arch(c.Arch)
		if name := filepath.Join(c.Arch, c.Container); !now[name] && (m.asked(arch) || !slices.Contains(m.config.Arch, arch)) {
			_ = os.Remove(filepath.Join(m.dir, name)) // it may be gone already; nothing depends on it
		}
	}
}
