package inject

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/ulp/tracer"
)

// loader makes one thread of the process map the blobs: for each memfd_create, mmap of the whole and of every part that is
// not just readable, close; in between the engine fills the file. If a call fails, what was mapped is unmapped again.
type loader struct {
	r     *run
	th    *tracer.Thread
	names []byte // NUL-terminated, one after the other
	calls []step
	done  int    // steps that were made
	fd    uint64 // of the memory file that is open; noFile: none
	err   error  // why it goes back
}

// step is one system call, and what follows it.
type step struct {
	call  func(fd, names uint64) tracer.Call
	after func(value uint64) error
	what  string
}

const noFile = ^uint64(0)

// elsewhere says that another thread may be able to make calls which this one cannot make.
func elsewhere(err error) bool {
	return errors.Is(err, tracer.ErrStack) || errors.Is(err, tracer.ErrDispatched) || errors.Is(err, ErrSeccomp)
}

// load tries the threads one after the other: one may have no room on its stack, or a filter that others do not have.
func (r *run) load(ctx context.Context) error {
	var first error
	for _, th := range r.byEase() {
		err := r.calling(ctx, func(ctx context.Context) error { return r.loadIn(ctx, th) })
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
		if !elsewhere(err) {
			return err
		}
	}
	return first
}

// byEase returns the threads, those that were not interrupted in a system call first: they come back faster.
func (r *run) byEase() []*tracer.Thread {
	var first, others []*tracer.Thread
	for _, th := range r.t.Threads() {
		if easy(th) {
			first = append(first, th)
		} else {
			others = append(others, th)
		}
	}
	return append(first, others...)
}

// easy says that a thread was not interrupted in a system call.
func easy(th *tracer.Thread) bool {
	regs := th.Registers()
	return int64(regs.Orig_rax) < 0 && !th.GroupStop
}

func (r *run) loadIn(ctx context.Context, th *tracer.Thread) error {
	r.step("filters")
	free, err := r.unfiltered(th)
	if err != nil {
		return err
	}
	if free && !r.o.oneByOne { // otherwise each call is looked at before it is made
		if err := r.send(th); !errors.Is(err, tracer.ErrNoBatch) {
			return err
		}
		if err := r.loadAtOnce(ctx, th); !errors.Is(err, tracer.ErrNoBatch) {
			return err
		}
	}
	l := &loader{r: r, th: th, fd: noFile}
	l.closeLeaked()
	for _, b := range r.blobs {
		l.plan(b)
	}
	if err := l.precheck(); err != nil {
		return err
	}
	if err := r.t.Sequence(ctx, th, l.names, l.next); err != nil {
		return err
	}
	return l.err
}

// plan adds the calls for one blob.
func (l *loader) plan(b *blob) {
	name := uint64(len(l.names))
	l.names = append(append(l.names, b.name...), 0)
	l.calls = append(l.calls, step{
		what: "a memory file",
		call: func(_, names uint64) tracer.Call {
			return call(unix.SYS_MEMFD_CREATE, names+name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		},
		after: func(fd uint64) error {
			l.fd = fd
			return l.fill(b)
		},
	})
	l.mmap(b.base, b.size, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_FIXED_NOREPLACE, 0)
	for _, p := range b.parts {
		l.mmap(b.base+p.off, p.size, p.prot, unix.MAP_PRIVATE|unix.MAP_FIXED, p.off)
	}
	l.calls = append(l.calls, step{
		what:  "closing the memory file",
		call:  func(fd, _ uint64) tracer.Call { return call(unix.SYS_CLOSE, fd) },
		after: func(uint64) error { l.fd = noFile; return nil },
	})
}

func (l *loader) mmap(addr, size, prot, flags, off uint64) {
	l.calls = append(l.calls, step{
		what: fmt.Sprintf("mapping %d KiB", size>>10),
		call: func(fd, _ uint64) tracer.Call { return call(unix.SYS_MMAP, addr, size, prot, flags, fd, off) },
		after: func(value uint64) error {
			if value != addr { // kernels before 4.17 do not know MAP_FIXED_NOREPLACE, and take the address for a wish
				l.undo(value, size)
				return ErrStale
			}
			if flags&unix.MAP_FIXED_NOREPLACE != 0 {
				l.undo(addr, size)
			}
			return nil
		},
	})
}

func call(nr uint64, args ...uint64) tracer.Call {
	c := tracer.Call{Nr: nr}
	copy(c.Args[:], args)
	return c
}

// next is asked for one call after the other: the planned ones, or those that go back.
func (l *loader) next(names uint64, results []tracer.Result) (tracer.Call, bool) {
	if n := len(results); n > 0 && l.err == nil {
		s := &l.calls[l.done]
		l.done++
		switch last := results[n-1]; {
		case last.Denied:
			l.err = fmt.Errorf("%s: %w", s.what, ErrSeccomp)
		case last.Errno == unix.EEXIST:
			l.err = fmt.Errorf("%s at %#x: %w", s.what, l.calls[l.done-1].call(0, 0).Args[0], ErrStale) // somebody else took the room
		case last.Errno != 0:
			l.err = fmt.Errorf("%s: %w: %w", s.what, ErrRefused, last.Errno)
		default:
			l.err = s.after(last.Value)
		}
	}
	l.r.step("load")
	if l.err == nil {
		if l.done == len(l.calls) {
			return tracer.Call{}, false
		}
		c := l.calls[l.done].call(l.fd, names)
		if l.err = l.allowed(c); l.err == nil {
			return c, true
		}
	}
	return l.back()
}

// precheck asks the filters about calls like those that will be made, those that go back and the way home included, before
// the first one is made.
func (l *loader) precheck() error {
	calls := []tracer.Call{call(unix.SYS_MUNMAP), call(unix.SYS_RT_SIGRETURN)}
	for _, s := range l.calls {
		calls = append(calls, s.call(leastFile, 0))
	}
	return l.allowed(calls...)
}

func (l *loader) allowed(calls ...tracer.Call) error { return allowed(l.r.t.Allowed(l.th, calls...)) }

// allowed translates the tracer's verdict.
func allowed(err error) error {
	if errors.Is(err, tracer.ErrSeccomp) {
		return fmt.Errorf("%w: %w", ErrSeccomp, err)
	}
	return err
}

// unfiltered says whether a thread may make any system call.
func (r *run) unfiltered(th *tracer.Thread) (bool, error) {
	mode, err := r.t.Seccomp(th)
	return mode == tracer.SeccompNone || r.o.SuspendSeccomp, err
}

// leastFile is a descriptor that the next file may have.
const leastFile = 3

// back returns the calls that take back what was done.
func (l *loader) back() (tracer.Call, bool) {
	if l.fd != noFile {
		c := call(unix.SYS_CLOSE, l.fd)
		l.fd = noFile
		return c, true
	}
	if n := len(l.r.mapped); n > 0 {
		m := l.r.mapped[n-1]
		l.r.mapped = l.r.mapped[:n-1]
		return call(unix.SYS_MUNMAP, m.base, m.size), true
	}
	return tracer.Call{}, false
}

// undo remembers a mapping that has to go if anything fails.
func (l *loader) undo(base, size uint64) {
	l.r.mapped = append(l.r.mapped, &freed{base: base, size: size})
}

// fill writes a blob into the memory file. That it is the one which was just created, and no file of the system's that
// another process (which shares descriptors with this one, and was not stopped) put in its place, is seen by its seals:
// only memory files can be without any, and this one is empty. Then it is sealed: nobody will change it.
func (l *loader) fill(b *blob) error {
	path := fmt.Sprintf("/proc/%d/task/%d/fd/%d", l.r.p.PID, l.th.TID, l.fd)
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return fmt.Errorf("opening the memory file: %w: %w", ErrRefused, err)
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || seals != 0 || unix.Fstat(fd, &st) != nil || st.Size != 0 || st.Nlink != 0 {
		return fmt.Errorf("the memory file is another one: %w", ErrStale)
	}
	err = unix.Ftruncate(fd, int64(b.size))
	for _, c := range b.contents {
		for data, off := c.data, int64(c.off); err == nil && len(data) > 0; {
			var n int
			n, err = unix.Pwrite(fd, data, off)
			data, off = data[max(n, 0):], off+int64(n)
		}
	}
	if err != nil {
		return fmt.Errorf("filling the memory file: %w: %w", ErrRefused, err)
	}
	_, _ = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	return nil
}

// closeLeaked closes memory files that an engine left open when it was killed between two calls.
func (l *loader) closeLeaked() {
	for _, fd := range l.r.forgotten() {
		l.calls = append(l.calls, step{
			what:  "closing a forgotten memory file",
			call:  func(uint64, uint64) tracer.Call { return call(unix.SYS_CLOSE, uint64(fd)) },
			after: func(uint64) error { return nil },
		})
	}
}

// maxFiles is about how many descriptors are looked at.
const maxFiles = 4096

// leakedFiles returns the descriptors of memory files of ours that are open in a process. It goes without [os.File], whose
// poller has nothing to do here.
func leakedFiles(pid int) map[int]bool {
	dir, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = unix.Close(dir) }()
	var list map[int]bool
	var entries [4096]byte
	for seen := 0; seen < maxFiles; {
		n, err := unix.ReadDirent(dir, entries[:])
		if err != nil || n <= 0 {
			return list
		}
		_, _, names := unix.ParseDirent(entries[:n], -1, nil)
		seen += len(names)
		for _, name := range names {
			if fd, err := strconv.Atoi(name); err == nil && linksToOurs(dir, name) {
				if list == nil {
					list = map[int]bool{}
				}
				list[fd] = true
			}
		}
	}
	return list
}

func isLeaked(pid, fd int) bool {
	return linksToOurs(unix.AT_FDCWD, fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
}

// linksToOurs says whether what a link below /proc leads to is a memory file of ours.
func linksToOurs(dir int, name string) bool {
	var link [len(memoryPrefix)]byte
	n, err := unix.Readlinkat(dir, name, link[:])
	return err == nil && string(link[:n]) == memoryPrefix
}

// unmap gives memory back, and closes forgotten files. What the kernel does not take stays, and is found by the next
// change.
func (r *run) unmap(ctx context.Context, list []*freed, files ...int) {
	var calls []tracer.Call
	for _, f := range list {
		calls = append(calls, call(unix.SYS_MUNMAP, f.base, f.size))
	}
	for _, fd := range files {
		calls = append(calls, call(unix.SYS_CLOSE, uint64(fd)))
	}
	for _, th := range r.byEase() {
		free, err := r.unfiltered(th)
		if err != nil || r.t.Allowed(th, calls...) != nil {
			continue
		}
		if !elsewhere(r.calling(ctx, func(ctx context.Context) error { return r.unmapIn(ctx, th, free, calls) })) {
			return
		}
	}
}

func (r *run) unmapIn(ctx context.Context, th *tracer.Thread, free bool, calls []tracer.Call) error {
	r.step("unmap")
	if free && !r.o.oneByOne {
		if err := r.unmapAtOnce(ctx, th, calls); !errors.Is(err, tracer.ErrNoBatch) {
			return err
		}
	}
	i := 0
	return r.t.Sequence(ctx, th, nil, func(uint64, []tracer.Result) (tracer.Call, bool) {
		r.step("unmap")
		if i == len(calls) {
			return tracer.Call{}, false
		}
		c := calls[i]
		i++
		return c, true
	})
}

// free unmaps what no thread needs. Nothing leads there any more, so threads that were running may go on before that.
func (r *run) free(ctx context.Context) {
	var list []*freed
	for _, f := range r.frees {
		if !f.inUse && !f.done {
			list = append(list, f)
		}
	}
	var files []int
	if len(r.blobs) == 0 { // otherwise they were closed when those were loaded
		files = r.forgotten()
	}
	if len(list)+len(files) == 0 {
		return
	}
	err := r.meanwhile(ctx, func() error { return nil })
	switch {
	case errors.Is(err, tracer.ErrExec) || errors.Is(err, tracer.ErrGone): // with all its memory
	case err != nil && len(r.t.Threads()) == 0: // it cannot be stopped again: a later change does it
		for _, f := range list {
			f.inUse = true
		}
	case len(files) > 0 || r.o.oneByOne || !r.giveBack(list):
		r.unmap(ctx, list, files...)
	}
}
