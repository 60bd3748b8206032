package process

import (
	"bytes"
	"strconv"
)

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

// stat is what /proc/PID/stat tells.
type stat struct {
	name    string
	state   State
	parent  int
	flags   uint64
	threads int
	start   uint64 // time of start, in clock ticks since boot
	program program
}

// program tells one program of a process from the next: exec lays out memory anew, at random places. All zero for one
// whose memory we may not see.
type program struct{ startCode, startStack uint64 }

const kernelThread = 0x0020_0000 // PF_KTHREAD in the flags

// Fields of stat behind the name, counted from the state.
const (
	statState = iota
	statParent
	statFlags      = 6
	statThreads    = 17
	statStart      = 19
	statStartCode  = 23
	statStartStack = 25
	statFields     = statStartStack + 1
)

// parseStat reads "PID (NAME) STATE PPID …". The name may have any bytes in it, parentheses and newlines too.
func parseStat(b []byte) (*stat, error) {
	from, to := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if from < 0 || to < from {
		return nil, malformed("no name in parentheses")
	}
	var fields [statFields][]byte
	for i, rest := 0, bytes.TrimLeft(b[to+1:], " "); i < len(fields); i++ {
		fields[i], rest, _ = bytes.Cut(rest, []byte{' '})
	}
	if len(fields[statState]) != 1 || len(fields[statFields-1]) == 0 {
		return nil, malformed("less than %d fields", statFields)
	}
	s := &stat{name: string(b[from+1 : to]), state: State(fields[statState][0])}
	var failed error
	number := func(i int) uint64 {
		n, err := strconv.ParseUint(string(fields[i]), 10, 64)
		if err != nil && failed == nil {
			failed = malformed("field %d is not a number", i)
		}
		return n
	}
	s.parent = int(int32(number(statParent)))
	s.flags = number(statFlags)
	s.threads = int(int32(number(statThreads)))
	s.start = number(statStart)
	s.program = program{startCode: number(statStartCode), startStack: number(statStartStack)}
	if failed != nil {
		return nil, failed
	}
	return s, nil
}

func (d *dir) stat() (*stat, error) {
	var b [1024]byte
	text, err := d.read("stat", b[:])
	if err != nil {
		return nil, err
	}
	s, err := parseStat(text)
	return s, lookError(d.pid, "stat", err)
}

// replaced says that another program runs than was seen before. Without memory, as in a process that is ending or whose
// main thread has ended, none can be told.
func (s *stat) replaced(before program) bool {
	return s.program != before && s.program != program{}
}

// vanished says that nothing runs in the process: its threads are all gone, and its memory with them.
func (s *stat) vanished() bool { return s.state == Dead || s.state == Zombie && s.threads <= 1 }

// dying says that a signal is ending the main thread, which runs no more of its program. Before it is gone it may dump core, which
// can take long, and which an interrupt would cut off.
func (s *stat) dying() bool {
	const signaled = 0x400 // PF_SIGNALED
	return s.flags&signaled != 0
}

// exiting says that the main thread is ending.
func (s *stat) exiting() bool {
	const exiting = 0x4 // PF_EXITING
	return s.flags&exiting != 0
}
