package process

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// Sharers finds processes that have the memory of another one without being threads of it
// (CLONE_VM, as after vfork), whoever their parents are. The zero value works, for several
// goroutines at once. Processes of others, about which the kernel does not tell this user, are not
// found; that nothing is told of any process, or of the one that is asked about, is an error.
//
// The first question compares the process with every other one. At the second, who shares memory
// with whom is found out for the whole machine: kcmp(2) puts all processes in the order of their
// memory, and then those with the same are neighbours. Afterwards nobody can come to share the
// memory of another one but a child, when it is made. So later questions are about the tasks that
// were made since, one by one.
type Sharers struct {
	mu sync.Mutex
	// a thread of each process that was there: the first one unless that had ended
	known   []int
	sharing map[int][]int // of those, the others that had the same memory
	silent  []int         // of those of the ordered ones that did not answer
	// numbers of all tasks since, and of the last before that had no place in the order
	young []int
	last  int    // the number of the last task
	asked bool   // before
	tried bool   // to put those that are known in order
	root  string // where proc is mounted, for tests; default procRoot
}

const (
	// maxYoung is how many tasks are asked about one by one, at every question. If there are more,
	// all is found out anew.
	maxYoung = 128
	// maxSince is how many tasks a process that is stopped is asked about, which takes a
	// millisecond; and freshMost after how many it is better to ask before it is stopped.
	maxSince  = 8192
	freshMost = 128
	// unready is how many of the last tasks that have a number may still be in the making.
	unready = 64
	// orders is how often to put the processes in order, which others disturb by executing programs
	// meanwhile.
	orders = 5

	procRoot = procfs.Root
	kcmpVM   = 1 // KCMP_VM of kcmp(2)
	kcmpLess = 1 // its answer: the first one's is in front
)

// Moment is a place in the order in which tasks are made on a machine. After that, Sharer asks
// about younger ones only.
type Moment struct {
	last int
	late []int // PIDs that no task had yet
}

// With returns a process that has the memory of p and is no thread of it, 0 if there is none, and
// when that was so. The error is a [*LookError], and means that it is not known.
func (s *Sharers) With(p *Process) (int, Moment, error) {
	other, at, err := s.with(p)
	return other, at, lookError(p.PID, "who else has its memory", err)
}

// sharerAnswer is what a question comes to.
type sharerAnswer struct {
	other int
	at    Moment
	err   error
}

// with asks until no process keeps it waiting that it does not know to be silent.
func (s *Sharers) with(p *Process) (int, Moment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for wait := silentMost; ; wait = max(wait*3/4, silentLeast) {
		c, answer := &comparer{}, &sharerAnswer{}
		if c.ask(wait, func() { s.question(c, p, answer) }) {
			return answer.other, answer.at, answer.err
		}
		s.known, s.tried = nil, false // it may have been at half of them
	}
}

func (s *Sharers) question(c *comparer, p *Process, answer *sharerAnswer) {
	if answer.err = s.update(c); answer.err != nil {
		return
	}
	if s.asked && !s.tried {
		s.arrange(c)
	}
	s.asked = true
	tid, err := p.comparable(c)
	if err != nil {
		answer.err = err
		return
	}
	c.unknown = c.unknown[:0]
	at := Moment{last: s.last}
	for _, other := range s.candidates(p.PID, tid) {
		if order, ok := c.memory(other, tid); ok && order == 0 && !isThread(p.PID, other) {
			answer.other, answer.at = other, at
			return
		}
	}
	for _, other := range s.young {
		if !taken(other) {
			at.late = append(at.late, other)
			continue
		}
		switch order, ok := c.memory(other, tid); {
		case !ok:
			at.late = append(at.late, other)
		case order == 0 && !isThread(p.PID, other):
			answer.other, answer.at = other, at
			return
		}
	}
	answer.at = at
	if answer.err = c.settle(p.PID); answer.err == nil {
		_, answer.err = p.comparable(c) // or it was not, at least for the last of these
	}
}

// comparable returns a thread that has the process's memory, and that the kernel compares with
// others. Of one that it does not compare even with itself, nothing that was found out would mean
// anything.
func (p *Process) comparable(c *comparer) (tid int, err error) {
	var errno unix.Errno
	asked := c.call(p.PID, func() {
		if tid, err = p.liveThread(); err == nil {
			_, errno = kcmp(tid, tid)
		}
	})
	switch {
	case !asked:
		return 0, ErrSilent
	case err != nil:
		return 0, err
	case errno == 0:
		return tid, nil
	case errno != unix.ESRCH:
		return 0, fmt.Errorf("kcmp: %w", errno)
	}
	d, err := p.open()
	if err != nil {
		return 0, err
	}
	d.Close()
	return 0, ErrChanged // it was a thread that has ended
}

// candidates returns the tasks that may share a process's memory, besides the young ones.
func (s *Sharers) candidates(pid, tid int) []int {
	if s.sharing == nil || tid != pid || slices.Contains(s.young, pid) {
		return s.known
	}
	return append(slices.Clone(s.sharing[pid]), s.silent...)
}

// Renew returns a moment just now, at which no other process has the memory of p, so that Sharer
// has fewer to ask about; or a process that has. A moment after which only few tasks were made is
// as good as a new one.
func (s *Sharers) Renew(p *Process, m Moment) (int, Moment, error) {
	if n := made(m.last, lastTask()); n >= 0 && n <= freshMost {
		return 0, m, nil
	}
	return s.With(p)
}

// Sharer returns a process that was made since, has the memory of a process and is no thread of it;
// 0 if there is none. It is for a process whose threads all stand, one of which is tid. If nobody
// was made anywhere, it takes one system call for each of the last numbers that nobody had at that
// moment, and what it takes to read a small file. The error is ErrLimit if they are too many to be
// asked about.
func (m Moment) Sharer(pid, tid int) (int, error) {
	n := made(m.last, lastTask())
	if n < 0 || n > maxSince {
		return 0, fmt.Errorf("processes made meanwhile: %w", ErrLimit)
	}
	for _, other := range m.late {
		if shares, err := sharesStill(pid, tid, other); shares || err != nil {
			return other, err
		}
	}
	for i := 1; i <= n; i++ {
		other := m.last + i
		if most := pidMax(); other >= most { // numbers have begun again
			other -= most - 1
		}
		if shares, err := sharesStill(pid, tid, other); shares || err != nil {
			return other, err
		}
	}
	return 0, nil
}

// sharesStill reports whether a task that may have been made since has the memory of a process that
// is stopped, and that must not wait for one that does not answer: such a one waits in the
// kernel, and cannot be interrupted.
func sharesStill(pid, tid, other int) (bool, error) {
	if !taken(other) || differ(other, tid) {
		return false, nil
	}
	if !sleeps(other) {
		return sameMemory(other, tid) && !isThread(pid, other), nil
	}
	// it is within exec, or only a parent after vfork
	same, err := sameMemoryWithin(silentLeast, tid, other)
	if errors.Is(err, ErrSilent) {
		return false, fmt.Errorf("process %d: %w", other, err)
	}
	return same && !isThread(pid, other), nil
}

// update adds the tasks that are new, or finds everything out anew.
func (s *Sharers) update(c *comparer) error {
	last := lastTask()
	n := last - s.last
	if s.known == nil || n < 0 || len(s.young)+n > maxYoung || last == 0 {
		return s.all(c, last)
	}
	for s.last < last {
		s.last++
		s.young = append(s.young, s.last)
	}
	return nil
}

// all lists all processes. After an error, the next question lists them again.
func (s *Sharers) all(c *comparer, last int) error {
	s.known, s.sharing, s.silent, s.young, s.last, s.tried = []int{}, nil, nil, s.young[:0], last,
		false
	for i := unready - 1; i >= 0; i-- {
		tid := last - i
		if tid <= 0 { // numbers have begun again
			tid += pidMax() - 1
		}
		s.young = append(s.young, tid)
	}
	err := s.list(c)
	if err != nil {
		s.known = nil
	}
	return err
}

func (s *Sharers) list(c *comparer) error {
	proc := cmp.Or(s.root, procRoot)
	root, err := procfs.OpenAt(unix.AT_FDCWD, proc, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("%s: %w", proc, err)
	}
	defer procfs.File(root).Close()
	err = procfs.EachNumber(procfs.File(root), func(pid int) error {
		tid, err := pid, error(nil)
		c.call(pid, func() { tid, err = liveThreadOf(proc, root, pid) })
		if err == nil {
			s.known = append(s.known, tid)
		}
		return err
	})
	if err == nil && len(s.known) == 0 {
		err = ErrNoProc
	}
	if err != nil {
		return fmt.Errorf("%s: %w", proc, err)
	}
	return nil
}

// arrange finds out which of the known tasks share memory.
func (s *Sharers) arrange(c *comparer) {
	s.tried = true
	list := slices.Clone(s.known)
	for range orders {
		c.unknown = c.unknown[:0]
		if list = c.sort(list); !c.inOrder(list) {
			continue
		}
		if c.inOrder(list) { // still: a task that executes a program in between moves
			s.sharing = c.groups(list)
			s.settle(list)
			s.silent = slices.Clone(c.unknown)
			return
		}
	}
}

// settle takes those who had their place in the order from the young: who can come to share their
// memory from now on is younger than they are.
func (s *Sharers) settle(list []int) {
	settled := make(map[int]bool, len(list))
	for _, pid := range list {
		settled[pid] = true
	}
	s.young = slices.DeleteFunc(s.young, func(n int) bool { return settled[n] })
}

// sort puts processes in the order of their memory. Those that ended, that this user may not ask
// about, and that do not answer are left out.
func (c *comparer) sort(list []int) []int {
	list = slices.DeleteFunc(list, func(pid int) bool { return !c.has(pid) })
	slices.SortFunc(list, func(a, b int) int {
		switch order, ok := c.order(a, b); {
		case !ok || order == 0:
			return 0
		case order == kcmpLess:
			return -1
		}
		return 1
	})
	return list
}

// inOrder reports whether each is before the next one, or has the same memory.
func (c *comparer) inOrder(list []int) bool {
	for i := range len(list) - 1 {
		if order, ok := c.order(list[i], list[i+1]); !ok || order != 0 && order != kcmpLess {
			return false
		}
	}
	return true
}

// groups returns, for each process that shares its memory, the others that do.
func (c *comparer) groups(list []int) map[int][]int {
	sharing := map[int][]int{}
	for from := 0; from < len(list); {
		to := from + 1
		for to < len(list) && c.same(list[from], list[to]) {
			to++
		}
		for i := from; i < to && to-from > 1; i++ {
			sharing[list[i]] = list[from:to]
		}
		from = to
	}
	return sharing
}

// liveThread returns a thread that has the process's memory: the main thread unless it has ended.
func (p *Process) liveThread() (int, error) {
	if p.State != Zombie {
		return p.PID, nil
	}
	d, err := p.open()
	if err != nil {
		return 0, err
	}
	defer d.Close()
	return d.liveThread()
}

// liveThreadOf is liveThread of a process of which nothing is known yet. Of one with a single
// thread there is nothing to choose: the number of threads is that of the directories in its
// directory "task", which costs a fifth of reading its state.
func liveThreadOf(proc string, root, pid int) (int, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(root, strconv.Itoa(pid)+"/task", &st,
		unix.AT_SYMLINK_NOFOLLOW); err == nil && st.Nlink == 3 {
		return pid, nil
	}
	d, err := openDir(proc, pid)
	if err == nil {
		defer d.Close()
		var s *stat
		if s, err = d.stat(); err == nil && s.state() == Zombie {
			pid, err = d.liveThread()
		}
	}
	if errors.Is(err, ErrGone) || errors.Is(err, ErrPermission) {
		err = nil // none, or one that this user may not see
	}
	return pid, err
}

// liveThread returns a thread that has not ended; if there is none, the first one.
func (d dir) liveThread() (int, error) {
	list, err := d.threads()
	for _, t := range list {
		if t.State != Zombie && t.State != Dead {
			return t.TID, nil
		}
	}
	return d.PID(), err
}

// made returns how many numbers the kernel has gone through between two tasks, the later of which
// may have a lower number, since numbers begin again at the end; -1 if it is not known.
func made(before, last int) int {
	switch {
	case last <= 0 || before <= 0:
		return -1
	case last >= before:
		return last - before
	}
	return pidMax() - 1 - before + last
}

// pidMax returns the first number that the kernel does not give; it is read once, and if an
// administrator changes it meanwhile, too many are asked about, or too few once.
var pidMax = sync.OnceValue(func() int {
	fd, err := procfs.OpenAt(unix.AT_FDCWD, "/proc/sys/kernel/pid_max", unix.O_RDONLY)
	if err != nil {
		return 1 << 22 // the most there can be
	}
	defer procfs.File(fd).Close()
	var b [32]byte
	n, _ := procfs.File(fd).Read(b[:])
	most, err := strconv.Atoi(string(bytes.TrimSpace(b[:max(n, 0)])))
	if err != nil {
		return 1 << 22
	}
	return most
})

// lastTask returns the number that the kernel gave to the task that it made last, in this pid
// namespace; 0 if it does not tell. (Who has the capability to choose the number of a new process
// is not seen.)
func lastTask() int {
	fd := lastTaskFile()
	if fd < 0 {
		return 0
	}
	var b [128]byte
	n, err := unix.Pread(fd, b[:], 0)
	if err != nil {
		return 0
	}
	words := bytes.Fields(b[:n])
	if len(words) == 0 {
		return 0
	}
	last, err := strconv.Atoi(string(words[len(words)-1]))
	if err != nil {
		return 0
	}
	return last
}

// lastTaskFile opens a file whose last word is that number, once; -1 if there is none.
var lastTaskFile = sync.OnceValue(func() int {
	for _, name := range []string{"/proc/sys/kernel/ns_last_pid", "/proc/loadavg"} {
		if fd, err := procfs.OpenAt(unix.AT_FDCWD, name, unix.O_RDONLY); err == nil {
			return fd
		}
	}
	return -1
})

// isThread reports whether a task is a thread of a process.
func isThread(pid, tid int) bool {
	return unix.Access(fmt.Sprintf("%s/%d/task/%d", procRoot, pid, tid), unix.F_OK) == nil
}

// sameMemory reports whether two tasks are known to have one address space.
func sameMemory(a, b int) bool {
	order, ok := compareMemory(a, b)
	return ok && order == 0
}

// taken reports whether a task has a number. That is to be known of many numbers, for most of which
// the answer is no, and takes half as long as to compare.
func taken(tid int) bool {
	_, _, errno := unix.RawSyscall(unix.SYS_KILL, uintptr(tid), 0, 0)
	return errno != unix.ESRCH
}
