package libpulp

import (
	"time"

	"context"
	"errors"
	"maps"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// undoTime limits how long libpulp.so may take to forget a patch.
const undoTime = 10 * time.Second

// undo takes back what a patch that failed left: libpulp.so has it in its list, and gave up
// working. No code was written, unless by a version that writes itself. It returns why, with
// [ErrUnfinished] if libpulp.so does not let it be undone. Killed before the end of this, the
// process runs its own code, while libpulp.so still lists the patch or refuses to work.
func (s *Session) undo(plan *Plan, why error) error {
	if err := errors.Join(s.restore(plan), s.emptyQueue(), s.unlist(plan)); err != nil {
		return errors.Join(why, fault(ErrState, errors.Join(ErrUnfinished, err),
			"taking the patch back"))
	}
	return why
}

// unlist makes libpulp.so forget a patch that is the newest of its list. It is asked to revert it,
// once it is told that it works; what it wants written for that is not written, for nothing was
// before.
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
	if id, _, ok, err := s.r.newest(s.rd); !ok || id != plan.Apply.ID() {
		return err
	}
	data, err := plan.Apply.metadata(plan.path, true, s.r.sym.buffer)
	if err != nil {
		return err
	}
	// The time is limited: the process is stopped, and libpulp.so has only lists to change.
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

// maxLeft bounds how many writes may be left over.
const maxLeft = 4096

// finish carries out what is left in the queue by an engine that was killed. The patch that it was
// for is not known, so the rule is the general one: detours at entries of functions in code, to
// functions that can be run, and pointers in the data of a container that is on libpulp.so's list.
func (s *Session) finish(plan *Plan) error {
	asked, err := s.r.queue(s.rd)
	if err != nil {
		return err
	}
	l, err := s.r.list(s.rd)
	if err != nil {
		return err
	}
	libraries, err := s.r.mem.Libraries(s.rd.ctx) // the container may be newer than Find
	if err != nil {
		return err
	}
	last := make(map[uint64]write, len(asked)) // of several writes to one place the last counts
	for _, w := range asked {
		last[w.addr] = w
	}
	if len(last) > maxLeft {
		return fault(ErrQueue, ErrRefused, "%d writes left over", len(last))
	}
	known := make(map[Switched]bool)
	for i := range l.patches {
		for _, f := range l.patches[i].Functions {
			known[f] = true
		}
	}
	var writes []write
	for _, addr := range slices.Sorted(maps.Keys(last)) {
		w := last[addr]
		if !s.plausible(w, known) && !ofContainer(w, l.patches, libraries) {
			return fault(ErrQueue, ErrRefused, "left over: % x at %#x",
				w.data[:min(len(w.data), 32)], w.addr)
		}
		writes = append(writes, w)
	}
	if err := s.moveOut(writes); err != nil {
		return err
	}
	if err := s.carryOut(writes); err != nil {
		return err
	}
	if err := s.repadLeft(plan, writes, l.patches); err != nil {
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
		was, err := s.r.entry(s.rd.ctx, w.addr+jumpSize)
		if err != nil {
			return err
		}
		places = append(places, place{"", w.addr + jumpSize, was})
	}
	return s.moveOn(places)
}

// plausible reports whether a write is one that libpulp.so asks for to switch a function.
func (s *Session) plausible(w write, known map[Switched]bool) bool {
	if !isDetour(w) {
		return w.equal(write{w.addr, nop2[:]}) && (s.isEntry(w.addr, false) ||
			s.isEntry(w.addr-landingSize, true))
	}
	entry, target, landing := w.addr+jumpSize, le.Uint64(w.data[len(absolute):]),
		len(w.data) > jumpSize+shortSize
	return known[Switched{entry, target}] && s.isEntry(entry, landing) &&
		w.equal(write{w.addr, detour(target, landing)})
}

func (s *Session) isEntry(entry uint64, landing bool) bool {
	p, err := s.r.entry(s.rd.ctx, entry)
	return err == nil && p.State != process.EntryUnknown && p.Landing == landing
}

// ofContainer reports whether a write is in the data of a container of a patch that is applied.
func ofContainer(w write, applied []Applied, libraries []*rtld.Library) bool {
	if len(w.data) != 8 && len(w.data) != 16 || isDetour(w) {
		return false
	}
	for _, l := range libraries {
		g := l.Segment(w.addr)
		if g == nil || g.Perm&(rtld.PermWrite|rtld.PermExec) != rtld.PermWrite ||
			!l.Contains(w.addr, uint64(len(w.data))) {
			continue
		}
		return slices.ContainsFunc(applied, func(a Applied) bool {
			return len(a.Functions) > 0 && l.Segment(a.Functions[0].New) != nil &&
				len(l.BuildID) >= 16 &&
				slices.Equal(l.BuildID[:16], a.ID[:16])
		})
	}
	return false
}
