package process

import "github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"

// State is what a process or thread does, by the letter that the kernel has for it.
type State byte

// The states of proc(5). There are more in old kernels.
const (
	Running     State = 'R'
	Sleeping    State = 'S'
	DiskSleep   State = 'D' // cannot be interrupted, and not be stopped either
	Stopped     State = 'T' // group stop: SIGSTOP, job control
	TracingStop State = 't'
	Zombie      State = 'Z'
	Dead        State = 'X'
	Idle        State = 'I' // kernel threads
)

// String returns the letter.
func (s State) String() string {
	if s == 0 {
		return "?"
	}
	return string(rune(s))
}

// stat is what /proc/PID/stat shows.
type stat procfs.Stat

func (d dir) stat() (*stat, error) {
	s, err := d.Stat(0)
	return (*stat)(s), err
}

// program tells one program of a process from the next. All zero for one whose memory we may not
// see.
type program struct{ startCode, startStack uint64 }

func (s *stat) program() program { return program{s.StartCode, s.StartStack} }

// state returns the state of the main thread.
func (s *stat) state() State { return State(s.State) }

// replaced reports whether another program runs than was seen before. Without memory, as in a
// process that is ending or whose main thread has ended, none can be told.
func (s *stat) replaced(before program) bool {
	return s.program() != before && s.program() != program{}
}

// vanished reports whether nothing runs in the process: its threads are all gone, and its memory
// with them.
func (s *stat) vanished() bool { return s.state() == Dead || s.state() == Zombie && s.Threads <= 1 }

// leaderGone reports whether the main thread has ended and others go on: the process's own
// directory then shows no memory any more, those of the threads do.
func (s *stat) leaderGone() bool { return s.state() == Zombie && s.Threads > 1 }

// dying reports whether a signal is ending the main thread, which runs no more of its program.
// Before it is gone it may dump core, which can take long, and which an interrupt would cut off.
func (s *stat) dying() bool { return s.Flags&procfs.FlagSignaled != 0 }

// exiting reports whether the main thread is ending.
func (s *stat) exiting() bool { return s.Flags&procfs.FlagExiting != 0 }
