package tracer

import (
	"bytes"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// Where sigframes go.
//
// A sigframe must be in memory whose content does not matter, since a tracer that is killed
// cannot put anything back; and nobody may write there until the thread is back. Memory below a
// thread's stack pointer is not known to be such. A kernel that delivers a signal uses it, but a
// program without handlers, or with handlers on an alternate stack only, need not care: coroutines
// have stacks that end in the middle of other data, and nothing outside the program shows where.
//
// Nor is a page that was never touched, in just any mapping: to the program it may be data that are
// zero.
//
// What is known is the first thread's stack, which the kernel made, which grows downwards, and
// whose fresh memory no program may expect to have any content. Everything below the lowest page of
// it that was ever touched is unused: code that is called, or switched to another stack, leaves at
// least an address to return to, so no live stack frame lies there. The kernel tells in
// /proc/PID/pagemap which pages those are; what lies below the whole mapping, where it has not
// grown yet, holds nothing at all. Pages that were touched by a tracer are known by their content
// (see sigframeblock.go), and so used again and again.
//
// Only code on the first thread's stack may write there while a thread is away, by using more of it
// than ever. If that thread is the one that is away, nothing does. Any other one is stopped; only
// if the tracer is killed, the others run on for the microseconds until the thread is back, which
// is why there is a gap then, and [Tracee.Submit] refuses.

const (
	// callRoom is how much stack a called function gets. A signal handler gets no promise at all;
	// loading a library, the deepest that is called, takes some 20 KiB.
	callRoom = 64 << 10
	// sharedGap is how far below everything that the first thread's stack was ever used for a
	// sigframe lies that another thread needs.
	sharedGap = 64 << 10
	// mainStackMost is more than the first thread's stack usually may have.
	mainStackMost = 64 << 20
	// areaScan is how many pages of the stack are looked at, from its lowest one on.
	areaScan = 64
)

var pageSize = uint64(os.Getpagesize())

// frameArea is memory that is known to be unused: for a sigframe at its top, and for what runs
// below it.
type frameArea struct {
	Range
	shared bool // another thread might use it, did it run
}

// frameArea finds room bytes, rounded up to pages. Its error is ErrStack if no memory is known to
// be unused.
func (t *Tracee) frameArea(th *Thread, room uint64) (frameArea, error) {
	stack, err := t.mainStack()
	if err != nil {
		return frameArea{}, err
	}
	if stack.Start == 0 || t.space.pagemap == nil {
		return frameArea{}, fmt.Errorf("where the first thread's stack is: %w", ErrStack)
	}
	top, err := t.untouched(th, stack)
	if err != nil {
		return frameArea{}, err
	}
	a := frameArea{}
	for _, other := range t.threads {
		on := stack.holds(other.regs.sp())
		if on {
			// it may not have touched yet what it stands on
			top = min(top, other.regs.sp()-min(redZone, other.regs.sp()))
		}
		if other.excursion != nil {
			top = min(top, other.excursion.area.Start)
		}
		a.shared = a.shared || other != th && (on || other.TID == t.pid)
	}
	if a.shared {
		top -= min(sharedGap, top)
	}
	a.End = top &^ (pageSize - 1)
	a.Start = a.End - min((room+pageSize-1)&^(pageSize-1), a.End)
	if err := t.grow(th, stack, a); err != nil {
		return a, err
	}
	return a, t.dissolve(th, a)
}

// dissolve marks the pages of blocks in an area as unused one by one. A smaller block at the end of
// a larger one would leave the rest of that, which nobody would know again.
func (t *Tracee) dissolve(th *Thread, a frameArea) error {
	for _, b := range t.blocks {
		if b.End > a.Start && b.End <= a.End { // else a thread may be on its way back by it
			t.step("area:dissolve")
			if err := markUnused(th.TID, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// mainStack is the first thread's stack, as far as it has grown. It is zero if there is none.
type mainStack struct{ Range }

// holds reports whether a stack pointer is in it, or below, where it has not been touched yet.
func (s mainStack) holds(sp uint64) bool {
	return sp < s.End && sp > s.Start-min(mainStackMost, s.Start)
}

// mainStack finds the first thread's stack. Where it began is known from before the stop; that it
// is there still, the kernel says by its name.
func (t *Tracee) mainStack() (mainStack, error) {
	if r, ok := t.space.initialStack(t.space.stack); ok && r.End == t.space.stackEnd {
		return mainStack{r}, nil
	}
	s, err := t.dir.Stat(t.threads[0].TID)
	if err == nil && s.Over() {
		err = ErrGone
	}
	return mainStack{}, err
}

// untouched returns the end of the lowest pages of the stack that the program has never touched. It
// notes the blocks of more than one page that tracers have left there.
func (t *Tracee) untouched(th *Thread, stack mainStack) (uint64, error) {
	n := min((stack.End-stack.Start)/pageSize, areaScan)
	pages, err := t.pagemap(Range{stack.Start, stack.Start + n*pageSize})
	if err != nil {
		return 0, fmt.Errorf("which pages of the first thread's stack were touched: %w", err)
	}
	t.blocks = t.blocks[:0]
	for i := uint64(0); i < n; {
		if !pages[i].touched() {
			i++
			continue
		}
		at := stack.Start + i*pageSize
		ours := t.ourPages(th, at, n-i)
		if ours == 0 {
			return at, nil
		}
		if ours > 1 {
			t.blocks = append(t.blocks, Range{at, at + ours*pageSize})
		}
		i += ours
	}
	return stack.Start + n*pageSize, nil
}

// pageState is what /proc/PID/pagemap says of a page.
type pageState uint64

// touched reports whether the page has, or had, any content: it is present, or swapped out.
func (p pageState) touched() bool { return p&(1<<63|1<<62) != 0 }

// pagemap returns the states of pages.
func (t *Tracee) pagemap(r Range) ([]pageState, error) {
	n := (r.End - r.Start) / pageSize
	if n == 0 {
		return nil, nil
	}
	pages := make([]pageState, n)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&pages[0])), 8*n)
	got, err := unix.Pread(int(t.space.pagemap.Fd()), b, int64(r.Start/pageSize*8))
	if err == nil && got != len(b) { // the address space is gone
		err = ErrGone
	}
	return pages, err
}

// grow makes the stack grow until it has the area, if it may. Otherwise the error is ErrStack.
//
// A look through /proc/PID/mem makes it grow, without harm where something else is mapped. The
// kernel takes this process's limit for it, not the other one's. The lowest page, which that has
// touched, is marked as unused.
func (t *Tracee) grow(th *Thread, stack mainStack, a frameArea) error {
	switch {
	case a.Start < pageSize || a.Start == a.End:
		return fmt.Errorf("below the first thread's stack: %w", ErrStack)
	case a.Start >= stack.Start: // a limit that was lowered meanwhile takes nothing away
		return nil
	}
	if limit, err := t.stackLimit(); err != nil {
		return err
	} else if stack.End-a.Start > limit {
		return fmt.Errorf("the first thread's stack may not grow: %w", ErrStack)
	}
	t.step("area:grow")
	var probe [1]byte
	_, _ = t.space.mem.ReadAt(probe[:], int64(a.Start))
	if now, ok := t.space.initialStack(a.Start); !ok || now.End != stack.End {
		return fmt.Errorf("the first thread's stack does not grow: %w", ErrStack)
	}
	return markUnused(th.TID, Range{a.Start, a.Start + pageSize})
}

// stackLimit is how far the first thread's stack may grow. It is read from /proc, since prlimit
// needs a right of its own.
func (t *Tracee) stackLimit() (uint64, error) {
	soft, _, err := t.dir.Limit(t.threads[0].TID, procfs.LimitStack)
	return soft, err
}

// Pick returns the thread that suits a call best: one that was not interrupted in a system call
// that [Tracee.Call] watches at the cost of time; of these the first thread, below whose stack
// nobody else ever is. Any thread will do if there is none.
func (t *Tracee) Pick() *Thread {
	for _, th := range t.threads {
		if !th.gone && th.excursion == nil && !th.regs.forgetsTime() {
			return th
		}
	}
	return t.threads[0]
}

// ourPages returns how many pages from an address on, at most n, have the content that a tracer
// gave them.
func (t *Tracee) ourPages(th *Thread, at, n uint64) uint64 {
	b := t.scratch.take(int(pageSize))
	if stackRead(th.TID, at, b) != nil {
		return 0
	}
	if bytes.Equal(b, unusedPage) {
		return 1
	}
	pages := blockLen(b)
	if pages == 0 || pages > n {
		return 0
	}
	whole := t.scratch.take(int(pages * pageSize))
	if stackRead(th.TID, at, whole) != nil || blockLen(whole) != pages || !isBlock(whole) {
		return 0
	}
	return pages
}

// leaveArea marks what a thread that is back has touched on its excursion as unused again.
func (t *Tracee) leaveArea(th *Thread, ex *excursion) error {
	t.step("restore:stack")
	ranges := []Range{{ex.lowest(), ex.area.End}}
	pages, err := t.pagemap(Range{ex.area.Start, ex.lowest()})
	if err != nil {
		return err
	}
	for i, p := range pages {
		if at := ex.area.Start + uint64(i)*pageSize; p.touched() {
			ranges = append(ranges, Range{at, at + pageSize})
		}
	}
	return markUnused(th.TID, ranges...)
}
