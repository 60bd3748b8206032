package inject

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/ulp/tracer"
)

// A thread that is sent makes its calls and goes home by itself, without a second stop: that is half of what standing still
// costs. What the calls returned nobody sees, so it is looked at what they did, in the list of mappings, while the process
// runs. If not all is there, what is there goes again, and the calls are made once more, with their results.

// send has a thread map the blobs by itself. tracer.ErrNoBatch: this one cannot.
func (r *run) send(th *tracer.Thread) error {
	if !r.canSend() || r.batch == nil || len(r.forgotten())+len(r.idle()) > 0 || !r.roomy() {
		return tracer.ErrNoBatch
	}
	r.step("load")
	if err := r.t.SendHome(th, r.batch.names, r.batch.at); err != nil {
		return err
	}
	r.empty, r.sent = true, true
	return nil
}

// roomy says whether all that the blobs need is free. Nobody else may have anything there, since what is there later counts
// as mapped by the thread.
func (r *run) roomy() bool {
	return !slices.ContainsFunc(r.blobs, func(b *blob) bool {
		free, err := r.t.Free(tracer.Range{Start: b.base, End: b.base + b.size})
		return err != nil || !free
	})
}

// canSend says whether a thread may be sent at all: in a group stop nobody is let go in between, and filters that are
// suspended apply again to one that is not traced any more. Nor is it sent where it would have to wait for a CPU that others
// have, which takes longer than a stop.
func (r *run) canSend() bool {
	if r.asked || r.o.SuspendSeccomp {
		return false
	}
	running := 0
	for _, th := range r.t.Threads() {
		if th.GroupStop {
			return false
		}
		if th.Running() {
			running++
		}
	}
	return running < max(2, runtime.NumCPU())
}

// How long the process runs on while a thread that was sent has not done its work, and how often that is looked at.
const (
	sentWait = time.Millisecond
	sentPace = 10 * time.Microsecond
)

// errNotThere says that a thread that was sent has not mapped everything in time.
var errNotThere = errors.New("not all of it is mapped")

// fillSent is fill, for what a thread that was sent is mapping just now, too.
func (r *run) fillSent() error {
	if r.sent && !r.landed() {
		return errNotThere
	}
	return r.fill()
}

// landed waits until the blobs are mapped. Of all parts the last one comes last.
func (r *run) landed() bool {
	last := r.blobs[len(r.blobs)-1]
	r.until(sentWait, func() bool { return r.mapsOurs(last.base+last.size-pageSize, pageSize) })
	r.t.Stood()
	r.sent = !r.takeSent() // what is known to be ours stays on the list, whatever the process does to it
	return !r.sent
}

// until waits for something that is about to happen, and says whether it did.
func (r *run) until(most time.Duration, f func() bool) bool {
	for began := time.Now(); !f(); {
		if time.Since(began) > most {
			return false
		}
		ts := unix.NsecToTimespec(sentPace.Nanoseconds())
		_ = unix.Nanosleep(&ts, nil)
	}
	return true
}

// takeSent notes which parts of the blobs are mapped, and says whether all are. A mapping there with a name of ours is one
// that the thread made: the room was free when it was sent, and nothing that it calls for takes what is not.
func (r *run) takeSent() bool {
	r.mapped = r.mapped[:0]
	all := true
	for _, b := range r.blobs {
		for _, p := range b.tiles() {
			if r.mapsOurs(b.base+p.off, p.size) {
				r.mapped = append(r.mapped, &freed{base: b.base + p.off, size: p.size})
			} else {
				all = false
			}
		}
	}
	return all
}

// mapsOurs says whether a range is in one mapping of a memory file of ours.
func (r *run) mapsOurs(base, size uint64) bool {
	m, name, err := r.t.Mapping(base)
	return err == nil && base >= m.Start && base+size <= m.End && strings.HasPrefix(name, memoryPrefix)
}

// sendAgain is for a thread that came home without having mapped everything: the system said no, or it had no CPU and has
// done it only now. All threads stand.
func (r *run) sendAgain(ctx context.Context) error {
	r.sent = false
	if r.takeSent() {
		return nil
	}
	if len(r.mapped) > 0 {
		r.unmap(ctx, r.mapped)
		r.mapped = nil
	}
	r.empty, r.asked = false, true
	return r.load(ctx)
}

// giveBack has a thread give memory back while it is let go, behind everything else that is to be done. What the kernel does
// not take stays, as with [run.unmap].
func (r *run) giveBack(list []*freed) bool {
	if !r.canSend() {
		return false
	}
	for _, th := range r.byEase() {
		if !easy(th) {
			return false
		}
		if free, err := r.unfiltered(th); err != nil || !free {
			continue
		}
		r.step("unmap")
		err := r.t.SendHome(th, nil, func(uint64) []tracer.BatchCall {
			var calls []tracer.BatchCall
			for _, f := range list {
				calls = append(calls, tracer.BatchCall{Call: call(unix.SYS_MUNMAP, f.base, f.size)})
			}
			return calls
		})
		if err == nil {
			r.t.AfterDetach(func() { r.goneSoon(list[len(list)-1]) })
		}
		if !errors.Is(err, tracer.ErrNoBatch) && !elsewhere(err) {
			return true // or the thread has ended
		}
	}
	return false
}

// goneWait is how long to wait until memory is gone that a thread gives back, which needs a CPU for that.
const goneWait = 100 * time.Millisecond

// goneSoon waits until memory is gone: who looks at the process when the change is over shall not find it.
func (r *run) goneSoon(f *freed) {
	var b [1]byte
	if r.until(goneWait, func() bool { _, err := r.mem.ReadAt(b[:], int64(f.base)); return err != nil }) {
		r.t.Stood()
	}
}
