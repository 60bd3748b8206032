package process

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// ErrForking means that a scan ended although there were new processes that it had not begun:
// whenever it had changed those that it found, there were others.
var ErrForking = errors.New("new processes appear faster than they can be patched: run this again")

// A process forked before its parent is changed begins with the parent's old memory. So a scan that
// changes processes lists them again when all that it knows were visited to the end, until a
// listing shows no new one. On a busy machine there always is a new one, a child of a process that
// was changed before: enoughQuiet listings in a row whose processes need no change end the scan,
// too. One is not enough: a process may end between its listing and its visit, and leave a child
// behind. maxListings, and the time of one process, bound the listings.
const (
	maxListings = 32
	enoughQuiet = 2
)

// newcomers is what a scan knows about processes that begin while it is under way.
type newcomers struct {
	// start times by PID of the processes that were visited; inHand before that
	seen     map[int]uint64
	early    bool      // processes were listed while some of those that are known still waited
	listings int       // after all known processes were visited to the end
	quiet    int       // the last listings whose processes needed no change
	since    time.Time // of the first listing
}

// inHand is the start time of a process that was listed and not visited yet, and notMeant of one
// that was not visited because it is not meant.
const (
	inHand   = ^uint64(0)
	notMeant = inHand - 1
)

// follows reports whether the scan visits newcomers.
func (s *scan) follows() bool { return s.o.Changed != nil && s.o.PIDs == nil }

// wantsEarly reports whether the time has come to list processes although some that are known wait
// or hang: once after all others were visited, and again after each that was slow, so that
// newcomers do not have to wait as well.
func (s *scan) wantsEarly() bool {
	first := func(t *task) bool { return t.again == nil && !t.slow }
	return s.follows() && !s.new.early && s.first.n == 0 && !slices.ContainsFunc(s.running, first)
}

// listEarly puts newcomers into the first queue. An error is left to the last listing.
func (s *scan) listEarly() {
	s.new.early = true
	_ = s.list(s.ctx)
}

// listAgain puts newcomers into the first queue, when no other process is left. Without any the
// scan is done. The error is [ErrForking], or that of listing.
func (s *scan) listAgain(now time.Time) error {
	if !s.follows() {
		return nil
	}
	n, changed := &s.new, s.o.Changed()
	switch {
	case n.listings == 0:
		n.since = now
	case changed:
		n.quiet = 0
	default:
		if n.quiet++; n.quiet == enoughQuiet {
			return nil
		}
	}
	n.listings++
	if err := s.list(s.ctx); err != nil {
		return err
	}
	if s.first.n > 0 && changed && (n.listings > maxListings || n.listings > 1 &&
		now.Sub(n.since) > s.o.Timeout) {
		return ErrForking
	}
	return nil
}

// list puts processes that are not known into the first queue.
func (s *scan) list(ctx context.Context) error {
	pids := slices.Clone(s.o.PIDs)
	if pids == nil {
		root, err := procfs.OpenAt(unix.AT_FDCWD, s.o.root(), unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return lookError(0, s.o.root(), err)
		}
		defer procfs.File(root).Close()
		again, shown := len(s.new.seen) > 0, 0
		err = procfs.EachNumber(procfs.File(root), func(pid int) error {
			if shown++; !again || s.isNew(pid) {
				pids = append(pids, pid)
			}
			return context.Cause(ctx)
		})
		if err == nil && shown == 0 {
			err = lookError(0, s.o.root(), ErrNoProc)
		}
		if err != nil {
			return err
		}
	}
	first := make(map[int]bool, len(s.o.First))
	for _, pid := range s.o.First {
		first[pid] = true
	}
	for _, carried := range []bool{true, false} {
		for _, pid := range pids {
			if first[pid] == carried {
				t := &task{pid: pid, named: s.o.PIDs != nil}
				t.owner, t.unsorted = s.owners.guess(pid)
				s.first.put(t)
				s.new.seen[pid] = inHand
			}
		}
	}
	return nil
}

// isNew reports whether a process was not visited, nor will be: its PID is not known, or was
// another process's before.
func (s *scan) isNew(pid int) bool {
	seen, known := s.new.seen[pid]
	if known && seen == inHand {
		return false
	}
	if s.o.Meant != nil && !s.meant(pid) {
		return false
	}
	stat, err := s.stat(pid)
	switch {
	case errors.Is(err, ErrGone):
		return false
	case err != nil:
		// it does not answer, or proc does not show it to this user; not when it was visited,
		// either
		return !known || seen != 0
	case stat.vanished(), stat.Flags&procfs.FlagKernelThread != 0:
		return false
	}
	return !known || seen != stat.Start
}

// note keeps which process was visited. One that was gone by then is not known: another one may
// have its PID.
func (s *scan) note(t *task) {
	if t.gone {
		delete(s.new.seen, t.pid)
	} else {
		s.new.seen[t.pid] = t.start
	}
}

// meant asks Meant about a process. One that cannot be seen is.
func (s *scan) meant(pid int) bool {
	d, err := openDir(s.o.root(), pid)
	if err != nil {
		return true
	}
	defer d.Close()
	return s.o.Meant(Glance{d})
}

// stat returns the public facts about a process. The error is the context's for one that does not
// answer.
func (s *scan) stat(pid int) (*stat, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), patience)
	defer cancel()
	return glance(ctx, pid, s.o.Options, dir.stat)
}
