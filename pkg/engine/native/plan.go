package native

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lpbuild/lpbuild/internal/hotpatch"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Change says what is to become of a process's live patches. All of it that concerns one library
// happens at one instant.
type Change struct {
	// Revert chooses those that are to be reverted; nil: none.
	Revert func(AppliedPatch) bool
	// Apply are the live patches to be applied on top of what remains, in this order.
	Apply []*Patch
}

// Consistency says where threads may be when functions are switched.
type Consistency int

const (
	// ConsistencySwitch is anywhere: calls that began before the switch end in the old function,
	// later ones go to the new.
	ConsistencySwitch Consistency = iota
	// ConsistencyFunctions is outside of functions that are switched: no thread may be in one, nor
	// have a call of it on its stack. All code counts that the function ever had and that is still
	// in memory, but for the code that it has after the switch. What looks like a return address
	// into it is taken for one. ErrAgain while that is so.
	//
	// A part of a function that a compiler has put elsewhere (f.cold) is found by the jumps that
	// lead there: see hotpatch.Text.Parts. A function whose parts are not known is refused, with
	// ErrEntry. Code that libpulp.so loaded for the function is not seen here; package engine looks
	// for it.
	ConsistencyFunctions
)

// Options of a Plan. The zero value works.
type Options struct {
	Consistency Consistency
	// Entries reports whether functions without NOPs get detours, where that is proven safe.
	// Default: what each live patch says.
	Entries symtab.Entries
	// SuspendSeccomp suspends the process's filters for the system calls that loading makes,
	// instead of obeying them. It needs CAP_SYS_ADMIN. Should the engine be killed in the middle of
	// such a call, the process meets its filter.
	SuspendSeccomp bool
	// StopTimeout limits how long some of the threads wait for the last one to stop, or for one to
	// make the system calls; default one second.
	StopTimeout time.Duration
	// MaxStop is for how long the process may be stopped at most: a change that is late is
	// undone, and the error is ErrLate. 0 means no limit.
	MaxStop time.Duration

	step func(name string) // test hook, between all changes of the process
	// for tests: as with a thread that cannot make system calls in one go
	oneByOne bool
	twoStops bool   // for tests: as if there were much to write
	load     string // for tests: the only way
}

// Plan is everything that can be known and prepared for a change before the process is stopped. It
// holds no resources, and is good as long as the process does not change: else [Plan.Run] returns
// ErrStale, and nothing has happened.
type Plan struct {
	p       *process.Process
	o       Options
	since   process.Moment // no other process had its memory
	targets []*targetPlan
	regions []*region
	expect  []write        // what is in memory, to be seen again when the process is stopped
	orphans []*table       // of libraries that are not there
	zones   []zone         // where threads must not be
	retired []*retired     // what is to be unmapped
	leaked  map[int]bool   // descriptors of memory files that a killed engine left
	stacks  []tracer.Range // writable mappings
	gadgets tracer.Gadgets
	applied []AppliedPatch
}

// targetPlan is the part of a plan that concerns one library.
type targetPlan struct {
	lib     *rtld.Library
	old     *table // nil: there is none yet
	oldPage []byte
	next    *table // as it will be
	added   int    // number of new sites, the last ones of next
	install []int  // slots whose functions get a detour
	restore []int  // slots whose functions lose it
	adding  []*newPatch
}

// newPatch is a live patch to be applied. When it is, there is a patchRecord and an activePatch of
// it.
type newPatch struct {
	patch *Patch
	slots []int // by function
	base  uint64
	// record, what aligns the image, the image, and what makes the size of the region a signed one
	size  uint64
	after uint64 // the last of that
}

// Plan prepares a change of the process, which is not stopped. The error is an [*Error] with the
// reason why the change is not possible, or ErrApplied if there is nothing to do.
func (v *View) Plan(ctx context.Context, c Change, o Options) (*Plan, error) {
	if err := admissible(v.v.p); err != nil {
		return nil, pidError(v.v.p.PID, "", err)
	}
	pl, err := process.Whole(ctx, func(ctx context.Context) (*Plan, error) {
		return v.plan(ctx, c, o)
	})
	return pl, pidError(v.v.p.PID, "", err)
}

func (v *View) plan(ctx context.Context, c Change, o Options) (*Plan, error) {
	if err := v.v.alone(); err != nil {
		return nil, err
	}
	pl, err := v.planned(ctx, c, o)
	if err != nil {
		return nil, v.v.moved(ctx, v.st, err)
	}
	return pl, nil
}

func (v *View) planned(ctx context.Context, c Change, o Options) (*Plan, error) {
	pl := &Plan{p: v.v.p, o: o, applied: v.st.applied(), since: v.v.shared.when}
	b := &planner{Plan: pl, v: v.v, st: &state{tables: v.st.tables,
		records: slices.Clip(v.st.records), unfinished: v.st.unfinished},
		texts: map[uint64]*hotpatch.Text{}}
	if err := b.choosePatches(ctx, c); err != nil {
		return nil, err
	}
	for _, t := range pl.targets {
		if err := b.target(ctx, t); err != nil {
			return nil, err
		}
	}
	if err := b.loadable(ctx); err != nil {
		return nil, err
	}
	if err := b.leftovers(ctx); err != nil {
		return nil, err
	}
	for _, m := range b.v.maps {
		if m.Perm&rtld.PermWrite != 0 {
			pl.stacks = append(pl.stacks, tracer.Range{Start: m.Start, End: m.End})
		}
	}
	slices.SortFunc(pl.expect, func(x, y write) int { return cmp.Compare(x.addr, y.addr) })
	pl.leaked = leakedFiles(pl.p.PID)
	var err error
	pl.gadgets, err = findGadgets(ctx, b.v)
	return pl, err
}

// admissible says no to processes that no plan is for.
func admissible(p *process.Process) error {
	switch {
	case p.Kernel || !p.Alive():
		return process.ErrNoMemory
	case p.Denied:
		return process.ErrPermission
	case p.Bits32:
		return fmt.Errorf("a 32-bit program: %w", symtab.ErrUnsupported)
	case p.Seccomp == process.SeccompStrict:
		return fmt.Errorf("strict mode: %w", ErrSeccomp)
	}
	return nil
}

// planner is a Plan that is being made.
type planner struct {
	*Plan
	v     *view
	st    *state
	texts map[uint64]*hotpatch.Text // by the segment's address
}

// choosePatches decides which live patches remain, and which come, in which table.
func (b *planner) choosePatches(ctx context.Context, c Change) error {
	reverted := 0
	for _, t := range b.st.tables {
		lib := b.v.libraryOf(t)
		if t.unloaded || lib == nil && len(t.patches) == 0 {
			continue // nothing leads to the table any more
		}
		if lib == nil { // not in the library list, but its table is in use
			return fmt.Errorf("the library at %#x: %w", t.bias, ErrStale)
		}
		tp := &targetPlan{old: t, next: t.clone()}
		if !b.v.complete(t) {
			if len(t.patches) > 0 {
				return fmt.Errorf("table at %#x: %w", t.base, ErrDamaged)
			}
			continue // never finished, and not in use: it is unmapped
		}
		tp.lib = lib
		tp.next.patches = slices.DeleteFunc(tp.next.patches, func(l activePatch) bool {
			i := slices.IndexFunc(b.applied, func(a AppliedPatch) bool { return a.Base == l.base })
			gone := i >= 0 && c.Revert != nil && c.Revert(b.applied[i])
			if gone {
				reverted++
			}
			return gone || i < 0
		})
		b.targets = append(b.targets, tp)
	}
	already := 0
	for _, p := range c.Apply {
		missing, err := b.without(p)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			already++
		}
		for _, tp := range missing {
			if len(tp.next.patches)+len(tp.adding) >= maxPatches {
				return fmt.Errorf("%d live patches on %s: %w", maxPatches, p.Meta.Target.Name,
					ErrLimit)
			}
			tp.adding = append(tp.adding, &newPatch{patch: p})
		}
	}
	switch {
	case len(c.Apply) > 0 && already == len(c.Apply) && reverted == 0:
		return ErrApplied
	case len(c.Apply) == 0 && reverted == 0 && c.Revert != nil && !b.st.dirty() &&
		b.v.leftover(b.st).Mappings == 0:
		return ErrNotApplied
	}
	return b.sites(ctx)
}

// dirty reports whether there is something of ours that is not in use.
func (st *state) dirty() bool {
	for _, t := range st.tables {
		if len(t.patches) == 0 || t.unloaded {
			return true
		}
	}
	for _, a := range st.applied() {
		if !a.Active {
			return true
		}
	}
	return len(st.unfinished) > 0
}

// has reports whether a live patch remains applied.
func (b *planner) has(tp *targetPlan, p *Patch) bool {
	return slices.ContainsFunc(tp.next.patches, func(l activePatch) bool {
		r := b.st.recordAt(l.base)
		return r != nil && r.PatchID == p.Meta.PatchID
	})
}

// without returns the parts of the plan for those copies of a live patch's library that do not have
// it.
func (b *planner) without(p *Patch) ([]*targetPlan, error) {
	libs, err := b.v.copies(p.Meta.Target)
	if err != nil {
		return nil, err
	}
	var list []*targetPlan
	for _, l := range libs {
		if !l.Main && !b.v.hasLoader() {
			return nil, fmt.Errorf("%s: %w", l.Name, ErrNoLoader)
		}
		if tp := b.targetOf(l); !b.has(tp, p) {
			list = append(list, tp)
		}
	}
	return list, nil
}

// targetOf returns the part of the plan for a library.
func (b *planner) targetOf(lib *rtld.Library) *targetPlan {
	for _, tp := range b.targets {
		if tp.lib == lib {
			return tp
		}
	}
	tp := &targetPlan{lib: lib, next: &table{buildID: bytes.Clone(lib.BuildID), bias: lib.Bias}}
	b.targets = append(b.targets, tp)
	return tp
}

func (t *table) clone() *table {
	c := *t
	c.patches, c.sites, c.slots = slices.Clone(t.patches), slices.Clone(t.sites),
		slices.Clone(t.slots)
	return &c
}
