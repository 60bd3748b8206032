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
// whoever their parents are. What it found out is kept for the next question: kcmp(2) puts all processes of a machine in the
// order of their memory, so that a question takes a few comparisons. The zero value works, for several goroutines at once.
// What the kernel does not tell this user is not found.
type Sharers struct {
	mu   sync.Mutex
	list []int    // processes, in the order of their memory
	age  int      // how many tasks were made since the list was
	last int      // the number of the last of them
	late []unborn // those of them that were not there
}

// unborn is a number that was given away and that nobody had at that time: its task was not ready yet, or has ended.
type unborn struct {
	tid  int
	seen time.Time
}

const (
	// maxBirths is how many tasks are asked about one by one; after that the list is made anew.
	maxBirths = 256
	// gestation is how long a number may be nobody's before its task is taken to have ended.
	gestation = 100 * time.Millisecond

	// maxPregnant is how many tasks may be in the making at one time.
	maxPregnant = 64

	procRoot = "/proc"
	kcmpVM   = 1 // KCMP_VM of kcmp(2)
	kcmpLess = 1 // its answer: the first one's is in front
)

// Moment is a place in the order in which tasks are made on a machine. After that, Sharer asks about younger ones only.
type Moment struct {
	last int
	late []int
}

// With returns a process that has the memory of p and is no thread of it, 0 if there is none, and when that was so.
func (s *Sharers) With(p *Process) (int, Moment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.update()
	at := Moment{last: s.last}
	for _, u := range s.late {
		at.late = append(at.late, u.tid)
	}
	tid := p.liveThread()
	i, ok := s.place(tid)
	for ; ok && i < len(s.list) && sameMemory(s.list[i], tid); i++ {
		if other := s.list[i]; !isThread(p.PID, other) {
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
	if last < m.last || last-m.last > maxBirths {
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

// update brings the list up to date: with tasks that are new, or from the beginning if those are many.
func (s *Sharers) update() {
	last := lastTask()
	if n := last - s.last; s.list == nil || n < 0 || s.age+n > maxBirths || last == 0 {
		s.all(last)
	} else {
		s.age += n
		s.younger(last)
	}
	s.last = last
}

// younger adds those that were made since the last question.
func (s *Sharers) younger(last int) {
	late, now := s.late, time.Now()
	s.late = nil
	for _, u := range late {
		if now.Sub(u.seen) < gestation {
			s.add(u.tid, u.seen)
		}
	}
	for tid := s.last + 1; tid <= last; tid++ {
		s.add(tid, now)
	}
}

// all makes the list of all processes.
func (s *Sharers) all(last int) {
	s.list, s.age, s.late = []int{}, 0, nil
	now := time.Now()
	for tid := max(1, last-maxPregnant+1); tid <= last; tid++ {
		if _, ok := compareMemory(tid, tid); !ok {
			s.late = append(s.late, unborn{tid, now})
		}
	}
	root, err := open(unix.AT_FDCWD, procRoot, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return
	}
	defer file(root).close()
	_ = eachNumber(root, func(pid int) error {
		if i, ok := s.place(pid); ok {
			s.list = slices.Insert(s.list, i, pid)
		}
		return nil
	})
}

// add puts a new task into the list. Threads are there with processes: who finds one asks what it is.
func (s *Sharers) add(tid int, seen time.Time) {
	if i, ok := s.place(tid); ok {
		s.list = slices.Insert(s.list, i, tid)
		return
	}
	s.late = append(s.late, unborn{tid, seen})
}

// place returns the first place in the list whose memory is that of a task, or behind it. Who is gone is taken out on the
// way; ok is false if that is the task itself, or if this user may not ask about it.
func (s *Sharers) place(tid int) (i int, ok bool) {
	if _, ok := compareMemory(tid, tid); !ok {
		return 0, false
	}
	lo, hi := 0, len(s.list)
	for lo < hi {
		mid := (lo + hi) / 2
		order, ok := compareMemory(s.list[mid], tid)
		switch {
		case !ok:
			s.list = slices.Delete(s.list, mid, mid+1)
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
