package process

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// ErrSilent means that another process may have the memory of this one, and does not answer: the
// kernel compares a process with others only when an exec that it is in has come to its end.
var ErrSilent = errors.New("a process that may share its memory does not answer, as in the " +
	"middle of exec")

// silent are the tasks that are being asked and have not answered, on goroutines that were left
// behind.
var silent = struct {
	mu    sync.Mutex
	tasks map[int]bool
}{tasks: map[int]bool{}}

// silentMost and silentLeast are how long to wait for a task that does not answer and that the
// kernel says is asleep: the first of a question, and each after many others. silentAwake is how
// many times as long to wait for one that is awake: it may be busy with its exec, or it is this
// process that gets no CPU.
const (
	silentMost  = 50 * time.Millisecond
	silentLeast = 2 * time.Millisecond
	silentAwake = 50
)

// comparer asks the kernel about tasks on a goroutine of its own, which is left behind by the one
// that waits for it if a task does not answer.
type comparer struct {
	task  int // that is asked; 0: none
	calls int
	left  bool
	// unknown are the tasks about which nothing was found out, since they do not answer.
	unknown []int
}

// ask runs f on a goroutine. It returns false if f hangs at a task, which is silent from then on,
// until it answers: then the goroutine ends, without returning to f. wait is how long that may
// take.
func (c *comparer) ask(wait time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() {
		f()
		close(done)
	}()
	ticker := time.NewTicker(wait)
	defer ticker.Stop()
	for before, same := -1, 0; ; {
		select {
		case <-done:
			return true
		case <-ticker.C:
		}
		silent.mu.Lock()
		task, calls := c.task, c.calls
		silent.mu.Unlock()
		if task == 0 || calls != before {
			before, same = calls, 0
			continue
		}
		if same++; (sleeps(task) || same >= silentAwake) && c.leave(calls) {
			return false
		}
	}
}

// leave leaves the goroutine behind, if it is still at the same call.
func (c *comparer) leave(calls int) bool {
	silent.mu.Lock()
	defer silent.mu.Unlock()
	if c.task == 0 || c.calls != calls {
		return false
	}
	c.left, silent.tasks[c.task] = true, true
	return true
}

// sleeps reports whether a task waits in the kernel for what no signal interrupts, as within exec.
// Asking never blocks.
func sleeps(task int) bool {
	d, err := openDir(procRoot, task)
	if err != nil {
		return false
	}
	defer d.Close()
	s, err := d.Status(0)
	return err == nil && State(s.State) == DiskSleep
}

// call runs f, which asks the kernel about a task and may wait for it. A task that is silent is not
// asked, and unknown.
func (c *comparer) call(task int, f func()) bool {
	silent.mu.Lock()
	if silent.tasks[task] {
		silent.mu.Unlock()
		c.unknown = append(c.unknown, task)
		return false
	}
	c.task = task
	c.calls++
	silent.mu.Unlock()
	f()
	silent.mu.Lock()
	defer silent.mu.Unlock()
	c.task = 0
	if c.left {
		delete(silent.tasks, task)
		runtime.Goexit()
	}
	return true
}

// memory compares the memory of two tasks, as compareMemory does. The first one is asked alone
// before: if it does not answer, then nothing of the other one is locked meanwhile, which else
// could not execute a program either.
func (c *comparer) memory(a, b int) (order int, ok bool) {
	if !c.has(a) {
		return 0, false
	}
	return c.order(a, b)
}

// has reports whether a task answers, and has memory that this user may ask about.
func (c *comparer) has(task int) bool {
	order, ok := c.order(task, task)
	return ok && order == 0
}

// order is memory for tasks that have just answered.
func (c *comparer) order(a, b int) (order int, ok bool) {
	if !c.call(a, func() { order, ok = compareMemory(a, b) }) {
		return 0, false
	}
	return order, ok
}

// same reports whether two tasks that have just answered are known to have one address space.
func (c *comparer) same(a, b int) bool {
	order, ok := c.order(a, b)
	return ok && order == 0
}

// settle returns ErrSilent if one of the unknown tasks may have the memory of a process.
func (c *comparer) settle(pid int) error {
	for _, task := range c.unknown {
		if !differ(task, pid) {
			return fmt.Errorf("process %d: %w", task, ErrSilent)
		}
	}
	return nil
}

// SameMemory reports whether two processes have one address space. The error is ErrSilent, or the
// kernel's.
func SameMemory(a, b int) (bool, error) { return sameMemoryWithin(silentMost, a, b) }

// sameMemoryWithin is SameMemory for a time that is right where it is asked.
func sameMemoryWithin(wait time.Duration, a, b int) (bool, error) {
	var order int
	errno := unix.ENOSYS
	c := &comparer{}
	answers := c.ask(wait, func() {
		if c.call(b, func() { compareMemory(b, b) }) {
			c.call(b, func() { order, errno = kcmp(a, b) })
		}
	})
	if !answers || len(c.unknown) > 0 {
		if differ(a, b) {
			return false, nil
		}
		return false, ErrSilent
	}
	if errno != 0 {
		return false, errno
	}
	return order == 0, nil
}

// compareMemory returns 0 if two tasks have one address space, or kcmpLess or another number for
// the order of two.
func compareMemory(a, b int) (order int, ok bool) {
	order, errno := kcmp(a, b)
	return order, errno == 0
}

func kcmp(a, b int) (int, unix.Errno) {
	r, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), kcmpVM, 0, 0, 0)
	return int(r), errno
}

// differ reports whether two tasks are known to have different memory, by the size of the program's
// code, which is the same for as long as an address space lives. Reading it never blocks.
func differ(a, b int) bool {
	ours, err := codeSize(a)
	if err != nil {
		return errors.Is(err, procfs.ErrGone)
	}
	theirs, err := codeSize(b)
	if err != nil {
		return errors.Is(err, procfs.ErrGone)
	}
	return ours != theirs
}

// codeSize returns how many pages the code of a task's program has; 0 for one without memory, or in
// the middle of an exec.
func codeSize(task int) (int, error) {
	fd, err := procfs.OpenAt(unix.AT_FDCWD, procRoot+"/"+strconv.Itoa(task)+"/statm", unix.O_RDONLY)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH):
		return 0, ErrGone
	case err != nil:
		return 0, err
	}
	defer procfs.File(fd).Close()
	var b [128]byte
	n, err := procfs.File(fd).Read(b[:])
	switch words := bytes.Fields(b[:max(n, 0)]); {
	case errors.Is(err, unix.ESRCH):
		return 0, ErrGone
	case err != nil:
		return 0, err
	case len(words) < 4:
		return 0, ErrMalformed
	default:
		return strconv.Atoi(string(words[3]))
	}
}
