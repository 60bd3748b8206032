package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// unconcerned says that a run which is about all processes that have a certain library is not about
// this one, which has none of that name: no engine is asked, since most processes of a machine may
// be like that.
func (j *job) unconcerned() bool {
	o := j.o
	if o.Leftovers || o.Selector.PID != 0 || o.Every || o.BadFiles || !anywhere(o.Engines) ||
		len(j.fit) > 0 || j.otherBuild {
		return false
	}
	return o.Containers.Len() > 0 || !loaded(j.view.Libraries, o.RevertAll)
}

// started returns a process.ErrStarting if the process may be about to load what it does not have.
func (j *job) started(ctx context.Context) error {
	if len(j.fit) > 0 || j.otherBuild || j.o.Containers.Len() == 0 {
		return nil
	}
	err := j.view.Memory.Started(ctx, j.view.Libraries)
	if errors.Is(err, process.ErrStarting) && j.o.Only != nil &&
		j.o.Only(ctx, j.view.Process) != nil {
		return nil // whatever it loads
	}
	return err
}

// anywhere reports whether one of the engines can work in nearly every process: then a run is not
// about those that an engine is for, but about those that have a target's library.
func anywhere(engines []Engine) bool { return slices.ContainsFunc(engines, Engine.Anywhere) }

// loaded reports whether there is a library of that name.
func loaded(libraries []*rtld.Library, name string) bool {
	return slices.ContainsFunc(libraries, func(l *rtld.Library) bool { return named(l, name) })
}

// openView opens the memory of a process and lists its libraries.
func openView(ctx context.Context, p *process.Process) (*View, error) {
	m, err := p.Memory(ctx)
	if err != nil {
		return nil, err
	}
	libraries, err := m.Libraries(ctx)
	if err != nil {
		m.Close()
		return nil, err
	}
	return &View{Process: p, Memory: m, Libraries: libraries}, nil
}

// findEngine asks the engines in order: the first one that is for the process gets it. If that one
// cannot be used, because it is too old or damaged, no other one is asked. Without an engine the
// error is the last one's ErrNoEngine.
func findEngine(ctx context.Context, engines []Engine, v *View) (Engine, Target, error) {
	none := ErrNoEngine
	for _, b := range engines {
		t, err := b.Open(ctx, v)
		switch {
		case err == nil:
			return b, t, nil
		case !errors.Is(err, ErrNoEngine):
			return b, nil, err
		}
		none = err
	}
	return nil, nil, none
}
