package pulp

import (
	"context"
	"errors"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
)

// undo takes back what a patch that failed left: libpulp.so has it in its list, and gave up working. No code was written,
// unless by a version that writes itself. It returns why, with [ErrUnfinished] if libpulp.so does not let it be undone.
func (s *Session) undo(plan *Plan, why error) error {
	if err := errors.Join(s.restore(plan), s.emptyQueue(), s.unlist(plan)); err != nil {
		return errors.Join(why, fault(ErrState, errors.Join(ErrUnfinished, err), "taking the patch back"))
	}
	return why
}

// unlist makes libpulp.so forget a patch that is the newest of its list. It is asked to revert it, once it is told that it
// works; what it wants written for that is not written, for nothing was before.
func (s *Session) unlist(plan *Plan) error {
	now, err := s.r.state(s.rd)
	if err != nil {
		return err
	}
	if s.r.sym.errorState != 0 && now.Code != plan.state.Code {
		if err := s.write(write{s.r.sym.errorState, make([]byte, 4)}); err != nil {
			return err
		}
	}
	l, err := s.r.readList(s.rd)
	if err != nil {
		return err
	}
	if len(l.patches) == 0 || l.patches[0].ID != plan.Apply.ID() {
		return nil
	}
	data, err := plan.Apply.metadata(plan.path, true, s.r.sym.buffer)
	if err != nil {
		return err
	}
	// The time is limited: the process stands still, and libpulp.so has only lists to change.
	ctx, cancel := context.WithTimeout(context.Background(), undoTime)
	defer cancel()
	code, err := s.call(ctx, s.r.sym.trigger, data)
	if err == nil && code != 0 {
		err = code
	}
	if err != nil {
		return err
	}
	return errors.Join(s.restore(plan), s.emptyQueue())
}

// restore puts the entries back as they were before a version that writes itself did so.
func (s *Session) restore(plan *Plan) error {
	var errs []error
	for _, p := range plan.places {
		w := write{p.entry - uint64(len(p.was.Before)), slices.Concat(p.was.Before, p.was.After)}
		now := make([]byte, len(w.data))
		if err := s.rd.read(now, w.addr); err != nil || !w.equal(write{w.addr, now}) {
			errs = append(errs, err, s.write(w))
		}
	}
	return errors.Join(errs...)
}

// finish carries out what is left in the queue by an engine that was killed. The patch that it was for is not known, so the
// rule is the general one: detours at entries of functions in code, to functions that can be run, and pointers in the data
// of a container that is on libpulp.so's list.
func (s *Session) finish() error {
	asked, err := s.r.queue(s.rd)
	if err != nil {
		return err
	}
	l, err := s.r.list(s.rd)
	if err != nil {
		return err
	}
	libraries, err := s.r.mem.Libraries(context.Background()) // the container may be newer than Find
	if err != nil {
		return err
	}
	var writes []write
	for i, w := range asked { // of several writes to one place the last counts
		if slices.ContainsFunc(asked[i+1:], func(o write) bool { return o.addr == w.addr }) {
			continue
		}
		if !s.plausible(w, l.patches, libraries) {
			return fault(ErrQueue, ErrRefused, "left over: % x at %#x", w.data[:min(len(w.data), 32)], w.addr)
		}
		writes = append(writes, w)
	}
	if err := s.moveOut(writes); err != nil {
		return err
	}
	if err := s.carryOut(writes); err != nil {
		return err
	}
	s.Finished = true
	return s.emptyQueue()
}

// moveOut is moveOn for detours whose functions are not known by name.
func (s *Session) moveOut(writes []write) error {
	var places []place
	for _, w := range writes {
		if !isDetour(w) {
			continue
		}
		was, err := s.entry(w.addr + jumpSize)
		if err != nil {
			return err
		}
		places = append(places, place{"", w.addr + jumpSize, was})
	}
	return s.moveOn(places)
}

// plausible says whether a write is one that libpulp.so asks for.
func (s *Session) plausible(w write, applied []Applied, libraries []*process.Library) bool {
	switch {
	case isDetour(w):
		entry, landing := w.addr+jumpSize, len(w.data) > jumpSize+shortSize
		p, err := s.entry(entry)
		target := le.Uint64(w.data[len(absolute):])
		return err == nil && p.State != process.EntryUnknown && p.Landing == landing && w.equal(write{w.addr, detour(target, landing)}) &&
			slices.ContainsFunc(applied, func(a Applied) bool { return slices.Contains(a.Functions, Switched{entry, target}) })
	case w.equal(write{w.addr, nop2[:]}):
		return s.isEntry(w.addr, false) || s.isEntry(w.addr-landingSize, true)
	case len(w.data) == 8 || len(w.data) == 16:
		return ofContainer(w, applied, libraries)
	}
	return false
}

func (s *Session) isEntry(entry uint64, landing bool) bool {
	p, err := s.entry(entry)
	return err == nil && p.State != process.EntryUnknown && p.Landing == landing
}

// ofContainer says whether a write is in the data of a container of a patch that is applied.
func ofContainer(w write, applied []Applied, libraries []*process.Library) bool {
	for _, l := range libraries {
		g := l.Segment(w.addr)
		if g == nil || g.Perm&(process.PermWrite|process.PermExec) != process.PermWrite || !l.Contains(w.addr, uint64(len(w.data))) {
			continue
		}
		return slices.ContainsFunc(applied, func(a Applied) bool {
			return len(a.Functions) > 0 && l.Segment(a.Functions[0].New) != nil && len(l.BuildID) >= 16 &&
				slices.Equal(l.BuildID[:16], a.ID[:16])
		})
	}
	return false
}
