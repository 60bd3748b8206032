package engine

import (
	"cmp"
	"context"
	"errors"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/native"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// SurveyOptions say what to look at. Nothing is ever stopped.
type SurveyOptions struct {
	Selector Selector
	Engines  []Engine      // as Options.Engines; live patches of all of them are listed
	Timeout  time.Duration // for each process; default 10 s
	Root     string        // where proc is mounted; default "/proc"
	// where tracefs is mounted; default: where the kernel has directories for it
	Tracing string
	// Stock looks for functions without NOPs that could be replaced, too, by live patches that say
	// so (entries: any). It takes longer.
	Stock bool
	// WithoutEngine adds processes that no engine is for, and those with nothing that an engine
	// which can work anywhere could replace.
	WithoutEngine bool
}

// Survey is what can be said of a process without stopping it. Name, Exe and the paths are the
// process's own words.
type Survey struct {
	PID       int
	Name      string // as FullName has it
	ShortName string // as ShortName has it
	Exe       string
	UID       uint32
	Container process.Container // in which it runs

	Engine   string // "" if there is none
	Anywhere bool   // the engine can work in nearly every process: that says nothing about this one
	Version  string // of the engine's part in the process
	// Disabled is why the process takes no live patches; nil if it does, or if that is so only
	// because it has no engine and none that can work in nearly every process was allowed.
	Disabled error
	// Unsure is why it cannot be told without a stop whether the process can be changed; nil if it
	// can be told. See ErrUnsure.
	Unsure error
	// Stock says that it has functions without NOPs which live patches with "entries: any" can
	// replace. It is only looked for with SurveyOptions.Stock, where the engine may do that, and
	// where no library has NOPs.
	Stock bool
	// Libraries are those that can be patched, or are.
	Libraries []PatchableLibrary
	// Elsewhere are live patches whose library is not loaded, which should not be.
	Elsewhere []Applied
	// Kept are live patches that are in memory and not in use: they were reverted while a thread
	// was in them, or the engine was killed before it switched to them. Which of the two, nothing
	// in the process tells.
	Kept []Applied
	// Left is memory that engines which were killed left in the process: see Options.Leftovers.
	Left native.Leftover
	// Probes are breakpoints where functions begin.
	Probes []Probe
	// ProbesErr is why it is not known which probes there are.
	ProbesErr error
	// Err is why not all of this could be seen.
	Err error
}

// PatchableLibrary is a library in a process whose functions can be replaced.
type PatchableLibrary struct {
	Name    string // SONAME, or the name of the file
	Path    string // the name under which it was loaded: the file's directory and Name
	BuildID []byte
	Main    bool      // it is the program itself
	Engine  bool      // it is the engine's part in the process
	Applied []Applied // the newest first
}

// Patched reports whether a live patch is applied.
func (s *Survey) Patched() bool {
	return len(s.Elsewhere) > 0 || slices.ContainsFunc(s.Libraries,
		func(l PatchableLibrary) bool { return len(l.Applied) > 0 })
}

// Bare says that nothing but the engine speaks for the process: it could work there, as anywhere,
// but there is nothing that it could replace for sure.
func (s *Survey) Bare() bool {
	return s.Anywhere && !s.Stock && len(s.Libraries)+len(s.Elsewhere)+len(s.Kept)+
		s.Left.Mappings == 0
}

// Takes reports whether the process takes live patches: a run would put one in that is for a
// library of it.
func (s *Survey) Takes() bool {
	return s.Engine != "" && s.Err == nil && s.Disabled == nil && s.Unsure == nil &&
		(s.Stock || s.replaceable())
}

// replaceable reports whether a library has functions that can be replaced. That the engine itself
// is in the process says nothing: libpulp.so cannot replace functions without NOPs.
func (s *Survey) replaceable() bool {
	return slices.ContainsFunc(s.Libraries, func(l PatchableLibrary) bool {
		return !l.Engine || len(l.Applied) > 0
	})
}

// Look surveys processes and returns what it saw, in ascending order of PID, and how many processes
// this user may not look into. The error is the context's, the selector's if the process that was
// named is not there, or that of reading proc.
func Look(ctx context.Context, o SurveyOptions) (list []*Survey, denied int, err error) {
	if err := (process.Options{Root: o.Root}).CheckProc(); err != nil {
		return nil, 0, err
	}
	if o.Selector.PID != 0 {
		if err := checkProcess(o.Root, o.Selector.PID); err != nil {
			return nil, 0, err
		}
	}
	ctx, end := process.WithWorkers(ctx)
	defer end()
	var mu sync.Mutex
	scan := process.ScanOptions{Options: process.Options{Root: o.Root}, PIDs: o.Selector.pids(),
		Timeout: o.Timeout, Meant: o.Selector.meant()}
	var known memory
	known.events, known.eventsErr = readEvents(o.tracefs())
	err = process.Scan(ctx, scan, func(ctx context.Context, p *process.Process, err error) {
		if look, ok := errors.AsType[*process.LookError](err); ok && passing(err) != nil {
			p, err = newRunner(Options{Root: o.Root, Timeout: cmp.Or(o.Timeout, 10*time.Second)},
				nil).lookAgain(ctx, look.PID)
		}
		s, hidden := o.look(ctx, p, err, &known)
		for n := 1; n < looks && s != nil && changes(s.Err) && wait(ctx, pause(n)); n++ {
			p, err := process.Look(ctx, s.PID, process.Options{Root: o.Root})
			s, hidden = o.look(ctx, p, err, &known)
		}
		mu.Lock()
		defer mu.Unlock()
		if hidden {
			denied++
		}
		if s != nil {
			list = append(list, s)
		}
	})
	slices.SortFunc(list, func(a, b *Survey) int { return a.PID - b.PID })
	return list, denied, err
}

// tracefs is where to look for uprobes.
func (o *SurveyOptions) tracefs() []string {
	if o.Tracing != "" {
		return []string{o.Tracing}
	}
	return tracefs
}

// changes reports whether an error means that the process started another program while it was
// looked at, or has not loaded its libraries yet: what was seen is a mixture of two programs, or
// half of one.
func changes(err error) bool {
	return errors.Is(err, process.ErrChanged) || errors.Is(err, process.ErrStarting)
}

// wait waits, and reports whether there is time left.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// look surveys one process. It returns nil for one that is not asked for; denied says that it may
// not be looked into.
func (o *SurveyOptions) look(ctx context.Context, p *process.Process, err error,
	known *memory) (s *Survey, denied bool) {
	switch named := o.Selector.PID != 0; {
	case err != nil && named && !errors.Is(err, process.ErrPermission):
		return &Survey{PID: o.Selector.PID, Err: timeIsOver(err)}, false
	case err != nil:
		look, ok := errors.AsType[*process.LookError](err)
		if errors.Is(err, process.ErrGone) || !ok {
			return nil, false
		}
		name, may := o.Selector.mayWant(ctx, o.Root, look.PID)
		switch {
		case !may:
			return nil, false
		case errors.Is(err, process.ErrPermission):
			return nil, true
		}
		return &Survey{PID: look.PID, Name: name, ShortName: name, Err: timeIsOver(err)}, false
	case !o.Selector.wants(p):
		return nil, false
	case p.Denied && named:
		s = newSurvey(p)
		s.Err = ErrPermission
		return s, false
	case p.Denied:
		return nil, true
	}
	s = newSurvey(p)
	switch err := s.fill(ctx, o, p, known); {
	case errors.Is(err, process.ErrGone), errors.Is(err, process.ErrNoMemory):
		return nil, false
	case err != nil:
		s.Err = timeIsOver(err)
	case (s.Engine == "" || s.Bare()) && !o.WithoutEngine && o.Selector.PID == 0:
		return nil, false
	}
	return s, false
}

func newSurvey(p *process.Process) *Survey {
	return &Survey{PID: p.PID, Name: FullName(p), ShortName: ShortName(p), Exe: p.Exe,
		UID: p.UID.Real, Container: p.Container}
}

// fill looks into the process.
func (s *Survey) fill(ctx context.Context, o *SurveyOptions, p *process.Process,
	known *memory) error {
	view, err := openView(ctx, p)
	if err != nil {
		return err
	}
	defer view.Memory.Close()
	engine, t, err := findEngine(ctx, o.Engines, view)
	if engine != nil {
		s.Engine = engine.Name()
	}
	if changes(err) {
		return err // and no reason to call it disabled
	}
	none := errors.Is(err, ErrNoEngine)
	if !none || anywhere(o.Engines) { // and not even that one
		s.Disabled = err
	}
	if err != nil && !none {
		return nil
	}
	var applied []Applied
	if t != nil {
		defer t.Close()
		s.Version, s.Disabled, s.Anywhere = t.Version(), admit(ctx, view, t), engine.Anywhere()
		if changes(s.Disabled) {
			err, s.Disabled = s.Disabled, nil
			return err
		}
		if s.Unsure = engine.Unsure(ctx, view); s.Unsure != nil &&
			!errors.Is(s.Unsure, ErrUnsure) {
			return s.Unsure
		}
		if applied, err = t.Applied(ctx); err != nil {
			s.Err = err
		}
		known.label(ctx, t, p.UID.Real, applied)
		others, err := appliedByOthers(ctx, o.Engines, engine, view,
			func(t Target, list []Applied) { known.label(ctx, t, p.UID.Real, list) })
		if applied = append(applied, others...); err != nil {
			s.Err = err
		}
		_, remains, err := view.remains(ctx, o.Engines)
		if err != nil {
			s.Err = err
		}
		if remains != nil {
			s.Kept, s.Left = remains.Kept, remains.Left
		}
	} else if !o.WithoutEngine {
		return nil
	}
	if err := s.libraries(ctx, view, applied, known); err != nil || len(s.Libraries) > 0 {
		return err
	}
	if err := view.Memory.Started(ctx, view.Libraries); err != nil || !o.Stock {
		return err // nothing that can be replaced yet
	}
	if t == nil {
		return nil
	}
	s.Stock, err = known.stock.replaceable(ctx, view, engine, t)
	return err
}

// libraries fills in what can be patched and what is.
func (s *Survey) libraries(ctx context.Context, view *View, applied []Applied,
	known *memory) error {
	found := make([]bool, len(applied))
	for _, l := range view.Libraries {
		list, err := probes(ctx, view, l, known.events)
		s.Probes = append(s.Probes, list...)
		if err = cmp.Or(err, known.eventsErr); err != nil {
			s.ProbesErr = err
		}
		row := PatchableLibrary{Name: l.Name, Path: l.Path, BuildID: l.BuildID, Main: l.Main}
		if l.SONAME != "" && path.Base(l.SONAME) == l.SONAME && !l.Main {
			row.Name, row.Path = l.SONAME, path.Join(path.Dir(l.Path), l.SONAME)
		}
		for i, a := range applied {
			if !found[i] && named(l, a.Library) && (a.Bias == 0 || a.Bias == l.Bias) {
				row.Applied, found[i] = append(row.Applied, a), true
			}
		}
		if len(row.Applied) == 0 && isContainer(l, applied) {
			continue
		}
		row.Engine = s.Engine != "" && exportsEngine(l)
		if len(row.Applied) == 0 && !row.Engine {
			patchable, err := known.nops.patchable(ctx, view, l)
			if err != nil {
				return err
			}
			if !patchable {
				continue
			}
		}
		s.Libraries = append(s.Libraries, row)
	}
	for i, a := range applied {
		if !found[i] {
			s.Elsewhere = append(s.Elsewhere, a)
		}
	}
	slices.SortStableFunc(s.Libraries, func(a, b PatchableLibrary) int { // the program first
		switch {
		case a.Main && !b.Main:
			return -1
		case b.Main && !a.Main:
			return 1
		}
		return 0
	})
	return nil
}
