package tracer

import (
	"errors"
	"fmt"

	"github.com/lpbuild/lpbuild/pkg/ulp/internal/procfs"
)

// callRoom is how much stack a called function gets. A signal handler gets no promise at all; loading a library, the
// deepest that is called, takes some 20 KiB.
const callRoom = 64 << 10

// foreignGap is how far below the first thread's stack a foreign frame lies: farther than that thread gets while another
// one comes back by itself.
const foreignGap = 64 << 10

// mainStackMost is more than the first thread's stack usually may have.
const mainStackMost = 64 << 20

// ground returns the stack pointer below which the way back is put, where room bytes are free.
//
// A kernel that delivers a signal uses whatever the stack pointer points to, and a program that has no handlers, or only
// such on an alternate stack, need not care. Coroutines, goroutines and handlers have stacks that end in the middle of
// other data, and nothing shows where. So a thread's stack is used only if it is known: the first thread's, or one with
// the thread's own data at its top, as glibc makes them. Otherwise it is memory that nothing uses, below the first
// thread's stack, which grows when it is touched.
func (t *Tracee) ground(th *Thread, j *journey, room uint64) (uint64, error) {
	main, err := t.mainStack()
	if err != nil {
		return 0, err
	}
	sp := j.regs.sp()
	switch own, err := t.mapping(sp); {
	case main.holds(sp) && own == main.Range:
		return sp, t.fits(main, sp, room)
	case err == nil && own.Start <= sp && sp < j.regs.tp() && j.regs.tp() < own.End && sp-own.Start > room+redZone:
		return sp, nil
	case err != nil && !errors.Is(err, ErrStack):
		return 0, err
	case main.Start == 0:
		return 0, fmt.Errorf("a small or unknown one: %w", ErrStack)
	}
	top := main.Start
	for _, other := range t.threads {
		if other.away != nil && other.away.foreign {
			return 0, fmt.Errorf("another thread is on the spare one: %w", ErrStack)
		}
		if other.TID != t.pid || other == th {
			continue
		}
		if sp := other.regs.sp(); main.holds(sp) {
			top = sp
		}
		top -= min(foreignGap, top)
	}
	j.foreign = true
	return top &^ 0xfff, t.fits(main, top, room)
}

// mainStack is the first thread's stack, as far as it has grown. It is zero if there is none.
type mainStack struct{ Range }

// holds says whether a stack pointer is in it, or below, where it has not been touched yet.
func (s mainStack) holds(sp uint64) bool {
	return sp < s.End && sp > s.Start-min(mainStackMost, s.Start)
}

// fits returns nil if there is room in the first thread's stack, or it may grow until there is.
func (t *Tracee) fits(s mainStack, sp, room uint64) error {
	switch {
	case sp < room:
		return ErrStack
	case sp-room >= s.Start: // a limit that was lowered meanwhile takes nothing away
		return nil
	}
	limit, err := t.stackLimit()
	if err == nil && s.End-(sp-room) > limit {
		err = ErrStack
	}
	return err
}

// mainStack finds the first thread's stack. Where it began is known from before the stop; that it is there still, the
// kernel says by its name. A stack to which the process gave another name is found by asking again.
func (t *Tracee) mainStack() (mainStack, error) {
	if r, ok := t.initialStack(t.space.stack); ok {
		return mainStack{r}, nil
	}
	s, err := t.dir.Stat(t.threads[0].TID)
	switch {
	case err != nil:
		return mainStack{}, err
	case s.StartStack == 0 && s.Over():
		return mainStack{}, ErrGone
	case s.StartStack == 0:
		return mainStack{}, nil // the process has set it so: only a stack of the thread's own is used
	}
	switch r, err := t.mapping(s.StartStack); {
	case errors.Is(err, ErrStack), err == nil && r.Start > s.StartStack:
		return mainStack{}, nil // it was unmapped
	default:
		return mainStack{r}, err
	}
}

// stackLimit is how far the first thread's stack may grow. It is read from /proc, since prlimit needs a right of its own.
func (t *Tracee) stackLimit() (uint64, error) {
	soft, _, err := t.dir.Limit(t.threads[0].TID, procfs.LimitStack)
	return soft, err
}

// Pick returns the thread that suits a call best: one on a stack of its own with room, and not in a system call that
// [Tracee.Call] watches at the cost of time. Any thread will do if there is none. Of many threads only some are looked at.
func (t *Tracee) Pick() *Thread {
	best, most := t.threads[0], -1
	for _, th := range t.threads[:min(len(t.threads), pickMost)] {
		if th.gone || th.away != nil {
			continue
		}
		j, score := journey{regs: th.regs}, 0
		if _, err := t.ground(th, &j, 2*callRoom); err == nil && !j.foreign {
			score = 2
		}
		if !th.regs.forgetsTime() {
			score++
		}
		if score > most {
			best, most = th, score
		}
		if most == 3 {
			break
		}
	}
	return best
}

// pickMost bounds what Pick costs while the process stands still.
const pickMost = 64
