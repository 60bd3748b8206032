package process

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Sharers finds processes that have the memory of another one without being threads of it (CLONE_VM, as after vfork),
// whoever their parents are. What it found out is kept for the next questions: kcmp(2) puts all processes of a machine in the
// order of their memory, so that a question takes a few comparisons. A process that executes a program changes its place;
// most do so when they are young. So the young ones are asked one by one, and the order is not kept for long. The zero value
// works, for several goroutines at once. What the kernel does not tell this user is not found.
type Sharers struct {
	mu      sync.Mutex
	ordered []int     // processes, in the order of their memory
	made    time.Time // when that was
	young   []int     // numbers of the last tasks before and of all since; nobody may have them yet, or any more
	last    int       // the number of the last task
}

const (
	// maxYoung is how many tasks are asked about one by one.
	maxYoung = 1024
	// youngLeast is how many of the last tasks are not put in order: their time to execute programs is now, and some that
	// have a number are still in the making.
	youngLeast = 64
	// orderTime is how long the order is kept.
	orderTime = 50 * time.Millisecond

	procRoot = "/proc"
	kcmpVM   = 1 // KCMP_VM of kcmp(2)
	kcmpLess = 1 // its answer: the first one's is in front
)

// Moment is a place in the order in which tasks are made on a machine. After that, Sharer asks about younger ones only.
type Moment struct {
	last int
	late []int // numbers that nobody had yet
}

// With returns a process that has the memory of p and is no thread of it, 0 if there is none, and when that was so.
func (s *Sharers) With(p *Process) (int, Moment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.update()
	tid, at := p.liveThread(), Moment{last: s.last}
	for i, ok := s.place(tid); ok && i < len(s.ordered) && sameMemory(s.ordered[i], tid); i++ {
		if other := s.ordered[i]; !isThread(p.PID, other) {
			return other, at
		}
	}
	for _, other := range s.young {
		switch order, ok := compareMemory(other, tid); {
		case !ok:
			at.late = append(at.late, other)
		case order == 0 && !isThread(p.PID, other):
			return other, at
		}
	}
	return 0, at
}

// Sharer returns a process that was made since, has the memory of a process and is no thread of it; 0 if there is none. It is
// for a process whose threads all stand, one of which is tid, and takes two system calls if nobody was made anywhere. The
// error is ErrLimit if they are too many to be asked about.
func (m Moment) Sharer(pid, tid int) (int, error) {
	last := lastTask()
	if last < m.last || last-m.last > maxYoung {
		return 0, fmt.Errorf("processes made meanwhile: %w", ErrLimit)
	}
	for _, other := range m.late {
		if sameMemory(other, tid) && !isThread(pid, other) {
			return other, nil
		}
	}
	for other := m.last + 1; other <= last; other++ {
		if sameMemory(other, tid) && !isThread(pid, other) {
			return other, nil
		}
	}
	return 0, nil
}

// update adds the tasks that are new, or makes the order anew.
func (s *Sharers) update() {
	last := lastTask()
	n := last - s.last
	if s.ordered == nil || n < 0 || len(s.young)+n > maxYoung || last == 0 || time.Since(s.made) > orderTime {
		s.all(last)
		return
	}
	for s.last < last {
		s.last++
		s.young = append(s.young, s.last)
	}
}

// all puts all processes but the youngest in order.
func (s *Sharers) all(last int) {
	s.ordered, s.young, s.last, s.made = []int{}, s.young[:0], last, time.Now()
	oldest := max(1, last-youngLeast+1)
	for tid := oldest; tid <= last; tid++ {
		s.young = append(s.young, tid)
	}
	root, err := open(unix.AT_FDCWD, procRoot, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return
	}
	defer file(root).close()
	_ = eachNumber(root, func(pid int) error {
		if pid >= oldest && pid <= last {
			return nil
		}
		if i, ok := s.place(pid); ok {
			s.ordered = slices.Insert(s.ordered, i, pid)
		}
		return nil
	})
}

// place returns the first place in the list whose memory is that of a task, or behind it. Who is gone is taken out on the
// way; ok is false if that is the task itself, or if this user may not ask about it.
func (s *Sharers) place(tid int) (i int, ok bool) {
	if _, ok := compareMemory(tid, tid); !ok {
		return 0, false
	}
	lo, hi := 0, len(s.ordered)
	for lo < hi {
		mid := (lo + hi) / 2
		order, ok := compareMemory(s.ordered[mid], tid)
		switch {
		case !ok:
			s.ordered = slices.Delete(s.ordered, mid, mid+1)
			hi--
		case order == kcmpLess:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return lo, true
}

// liveThread returns a thread that has the process's memory: the main thread unless it has ended.
func (p *Process) liveThread() int {
	if p.State != Zombie {
		return p.PID
	}
	d, err := p.open()
	if err != nil {
		return p.PID
	}
	defer d.close()
	list, _ := d.threads()
	for _, t := range list {
		if t.State != Zombie && t.State != Dead {
			return t.TID
		}
	}
	return p.PID
}

// lastTask returns the number that the kernel gave to the task that it made last, in this pid namespace; 0 if it does not
// tell. (Who has the capability to choose the number of a new process is not seen.)
func lastTask() int {
	var b [128]byte
	for _, name := range []string{"/proc/sys/kernel/ns_last_pid", "/proc/loadavg"} {
		fd, err := open(unix.AT_FDCWD, name, unix.O_RDONLY)
		if err != nil {
			continue
		}
		n, err := file(fd).Read(b[:])
		file(fd).close()
		if words := bytes.Fields(b[:n]); err == nil && len(words) > 0 {
			if last, err := strconv.Atoi(string(words[len(words)-1])); err == nil {
				return last
			}
		}
	}
	return 0
}

// isThread says whether a task is a thread of a process.
func isThread(pid, tid int) bool {
	return unix.Access(fmt.Sprintf("%s/%d/task/%d", procRoot, pid, tid), unix.F_OK) == nil
}

// sameMemory says whether two tasks are known to have one address space.
func sameMemory(a, b int) bool {
	order, ok := compareMemory(a, b)
	return ok && order == 0
}

// compareMemory returns 0 if two tasks have one address space, or kcmpLess or another number for the order of two.
func compareMemory(a, b int) (order int, ok bool) {
	r, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), kcmpVM, 0, 0, 0)
	return int(r), errno == 0
}
