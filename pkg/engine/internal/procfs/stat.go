package procfs

import (
	"bytes"
	"strconv"
)

// Stat is what /proc/PID/stat shows.
type Stat struct {
	Name    string // any bytes but NUL
	State   byte   // the kernel's letter
	Parent  int
	Flags   uint64 // PF_*
	Threads int
	Start   uint64 // clock ticks since boot
	// StartCode and StartStack tell one program of a process from the next: exec lays out memory
	// anew, at random places. They are 0 without memory; for one whose memory this user may not
	// see, StartStack is 0.
	StartCode, StartStack uint64
}

// Flags of a task, from the kernel's sched.h.
const (
	FlagExiting      = 0x4         // PF_EXITING: it is ending
	FlagSignaled     = 0x400       // PF_SIGNALED: a signal is ending it
	FlagKernelThread = 0x0020_0000 // PF_KTHREAD
)

// Ended reports whether the task has ended, and at most waits for its parent.
func (s *Stat) Ended() bool { return s.State == 'Z' || s.State == 'X' || s.State == 'x' }

// Over reports whether the task has ended, or is ending and runs no code of its program any more.
func (s *Stat) Over() bool { return s.Ended() || s.Flags&FlagExiting != 0 }

// Fields after the name, counted from the state.
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

// statSize is more than the kernel writes: a name and 50 numbers.
const statSize = 2 << 10

// ParseStat reads "PID (NAME) STATE PPID …". The name may have any bytes in it, parentheses and
// newlines too.
func ParseStat(b []byte) (*Stat, error) {
	from, to := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if from < 0 || to < from {
		return nil, malformed("no name in parentheses")
	}
	var fields [statFields][]byte
	rest := bytes.TrimLeft(b[to+1:], " ")
	for i := range fields {
		var whole bool
		if fields[i], rest, whole = bytes.Cut(rest, []byte{' '}); !whole {
			// the kernel writes more than is read here
			return nil, malformed("%d fields, want more than %d", i+1, statFields)
		}
	}
	if len(fields[statState]) != 1 {
		return nil, malformed("the state is not a letter")
	}
	s := &Stat{Name: string(b[from+1 : to]), State: fields[statState][0]}
	var failed error
	number := func(i, bits int) uint64 {
		n, err := strconv.ParseUint(string(fields[i]), 10, bits)
		if err != nil && failed == nil {
			failed = malformed("field %d is not a number", i)
		}
		return n
	}
	s.Parent = int(number(statParent, 31))
	s.Flags = number(statFlags, 64)
	s.Threads = int(number(statThreads, 31))
	s.Start = number(statStart, 64)
	s.StartCode, s.StartStack = number(statStartCode, 64), number(statStartStack, 64)
	if failed != nil {
		return nil, failed
	}
	return s, nil
}

// Stat reads the stat of a thread, or of the process as a whole if tid is 0.
func (d *Dir) Stat(tid int) (*Stat, error) {
	name := TaskFile(tid, "stat")
	var b [statSize]byte
	text, err := d.slurp(name, b[:])
	if err != nil {
		return nil, d.fail(name, err)
	}
	s, err := ParseStat(text)
	return s, d.fail(name, err)
}
