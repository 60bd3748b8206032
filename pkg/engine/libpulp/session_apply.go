package libpulp

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// apply applies the plan's patch.
func (s *Session) apply(ctx context.Context, plan *Plan) error {
	data, err := plan.Apply.metadata(plan.path, false, s.r.sym.buffer)
	if err != nil {
		return err
	}
	if err := s.allowed(loading); err != nil {
		return err
	}
	if err := s.moveOn(plan.places); err != nil {
		return err
	}
	code, err := s.call(ctx, s.r.sym.trigger, data)
	switch {
	case errors.Is(err, ErrUnfinished):
		return err
	case err != nil:
		return s.undo(plan, err)
	case code == ErrAgain:
		return errors.Join(&Error{Code: ErrAgain}, s.forget(data))
	case code != 0:
		return s.undo(plan, &Error{Code: code})
	}
	writes, err := s.entitled(plan)
	if err == nil && s.r.sym.queue != 0 {
		err = s.carryOut(writes)
	} else if err == nil {
		err = s.written(writes)
	}
	if err != nil {
		return s.undo(plan, err)
	}
	return s.emptyQueue()
}

// entitled returns the writes that the patch needs. If libpulp.so asks for any, it must be for
// these.
func (s *Session) entitled(plan *Plan) ([]write, error) {
	id, functions, ok, err := s.r.newest(s.rd)
	if err != nil {
		return nil, fault(ErrState, err, "list of patches")
	}
	if !ok || id != plan.Apply.ID() {
		return nil, verdict(ErrState, "the patch is not the newest of the list")
	}
	writes, err := s.needed(plan, functions)
	if err != nil || s.r.sym.queue == 0 {
		return writes, err
	}
	asked, err := s.r.queue(s.rd)
	if err != nil {
		return nil, err
	}
	return writes, compare(writes, asked)
}

// needed computes the writes of a patch from the plan, the container and the place where it was
// loaded.
func (s *Session) needed(plan *Plan, functions []Switched) ([]write, error) {
	p := plan.Apply
	bias, err := p.bias(functions)
	if err == nil {
		err = p.loaded(s.rd, bias)
	}
	if err != nil {
		return nil, fault(ErrQueue, err, "replacements")
	}
	var writes []write
	for i, ref := range p.Metadata.References {
		w := write{addr: bias + p.references[i],
			data: le.AppendUint64(nil, plan.target.Bias+ref.TargetOffset)}
		if ref.TLS { // {module, offset}; the module is any
			w.data = le.AppendUint64(make([]byte, 8), ref.TargetOffset)
		}
		writes = append(writes, w)
	}
	for i, f := range functions {
		if f.Old != plan.places[i].entry {
			return nil, fault(ErrQueue, ErrRefused, "%q is at %#x, libpulp.so took %#x",
				plan.places[i].name, plan.places[i].entry, f.Old)
		}
		writes = append(writes, write{f.Old - jumpSize, detour(f.New, plan.places[i].landing())})
	}
	return writes, nil
}

// compare checks that exactly the needed writes are asked for, in any order, and takes over the
// module of a thread-local variable, which only the process knows.
func compare(needed, asked []write) error {
	byAddr := make(map[uint64]write, len(asked))
	for _, w := range asked {
		byAddr[w.addr] = w
	}
	if len(asked) != len(needed) || len(byAddr) != len(asked) {
		return fault(ErrQueue, ErrRefused, "%d writes instead of %d", len(asked), len(needed))
	}
	for i, w := range needed {
		a, ok := byAddr[w.addr]
		if ok && len(w.data) == 16 && w.data[0] != absolute[0] && len(a.data) == 16 &&
			le.Uint64(a.data) < maxModule {
			copy(needed[i].data, a.data[:8])
		}
		if !ok || !a.equal(needed[i]) {
			return fault(ErrQueue, ErrRefused, "no write of % x at %#x, which the patch needs",
				w.data, w.addr)
		}
	}
	return nil
}

// maxModule bounds the number of a library with thread-local storage.
const maxModule = 1 << 20

// written checks what a libpulp.so without a queue has written.
func (s *Session) written(writes []write) error {
	for _, w := range writes {
		b := make([]byte, len(w.data))
		if err := s.rd.read(b, w.addr); err != nil {
			return err
		}
		if len(b) == 16 && w.data[0] != absolute[0] && le.Uint64(w.data) == 0 {
			copy(w.data, b[:8])
		}
		if !w.equal(write{w.addr, b}) {
			return fault(ErrState, ErrRefused, "libpulp.so wrote % x at %#x, the patch needs % x",
				b, w.addr, w.data)
		}
	}
	return nil
}

// moveOn moves threads that stand in the middle of a function's NOPs after them: in the middle of
// a jump they would execute nonsense. Into the NOPs before the entry comes a thread from a function
// before it that ends without a jump, as some of libc's do (__memcpy_chk runs on into memcpy).
// A thread that was interrupted there by a signal, and is in its handler now, is not seen: between
// the two NOPs of libraries that went through `ulp post`, which have one of two bytes, is no such
// place.
func (s *Session) moveOn(places []place) error {
	for i := range places {
		p := &places[i]
		for _, th := range s.t.Threads() {
			to, inside := p.behind(th.PC())
			if !inside {
				continue
			}
			if err := s.t.SetPC(th, to); err != nil {
				return fault(ErrAgain, err, "a thread stands in the entry of %q", p.name)
			}
		}
	}
	return nil
}

// behind reports whether pc is inside of the NOPs that become jumps, and where they end.
func (p *place) behind(pc uint64) (to uint64, inside bool) {
	between := p.entry + 1
	if p.landing() {
		between += landingSize
	}
	switch {
	case p.was.State != process.EntryNOPs:
		return 0, false
	case pc == between && !p.was.Single:
		return between + 1, true
	}
	return p.entry, p.was.Stale == 0 && pc > p.entry-jumpSize && pc < p.entry
}

// revert reverts one patch of a plan.
func (s *Session) revert(ctx context.Context, plan *Plan, a *Applied) error {
	data, err := reverseOf(a, s.r.sym.buffer)
	if err != nil {
		return err
	}
	if err := s.allowed(unloading); err != nil {
		return err
	}
	before, err := s.r.readList(s.rd)
	if err != nil {
		return fault(ErrState, err, "list of patches")
	}
	code, err := s.call(ctx, s.r.sym.trigger, data)
	switch {
	case errors.Is(err, ErrUnfinished):
		return err
	case err != nil:
		return errors.Join(err, s.emptyQueue())
	case code == ErrAgain:
		return errors.Join(&Error{Code: ErrAgain}, s.forget(data))
	case code != 0:
		return errors.Join(&Error{Code: code}, s.emptyQueue())
	case s.r.sym.queue == 0:
		return s.repad(plan, a, before.patches)
	}
	asked, err := s.r.queue(s.rd)
	if err != nil {
		return err
	}
	writes, err := s.reverting(a, before.patches, asked)
	if err == nil {
		err = s.carryOut(writes)
	}
	if err == nil {
		// before the queue is empty: until then the next engine finishes what is missing
		err = s.repad(plan, a, before.patches)
	}
	return errors.Join(err, s.emptyQueue())
}

// reverting computes the writes that a revert needs: each function runs the newest of the patches
// that stay, or itself. libpulp.so must ask for these, and may do so more than once.
func (s *Session) reverting(a *Applied, applied []Applied, asked []write) ([]write, error) {
	needed := make(map[uint64]write)
	for _, f := range a.Functions {
		p, err := s.r.entry(s.rd.ctx, f.Old)
		if err != nil {
			return nil, err
		}
		w := undetour(f.Old, p.Landing)
		for _, other := range applied {
			if i := indexOld(other.Functions, f.Old); other.ID != a.ID && i >= 0 {
				w = write{f.Old - jumpSize, detour(other.Functions[i].New, p.Landing)}
				break
			}
		}
		needed[w.addr] = w
	}
	var writes []write
	for _, w := range asked {
		n, ok := needed[w.addr]
		if !ok || !n.equal(w) {
			return nil, fault(ErrQueue, ErrRefused, "% x at %#x", w.data, w.addr)
		}
	}
	for _, addr := range slices.Sorted(maps.Keys(needed)) {
		writes = append(writes, needed[addr])
	}
	return writes, nil
}

func indexOld(list []Switched, old uint64) int {
	for i, f := range list {
		if f.Old == old {
			return i
		}
	}
	return -1
}
