package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// Memory is one address space of a process, opened for reading. It stays that of the program that
// ran when it was opened: after exec or exit nothing can be read any more, so that what was read
// never is a mixture of two programs.
//
// That is why it reads through /proc/PID/mem, which belongs to the address space, and not with
// process_vm_readv, which goes by the PID and would read from whatever process has it at that
// moment. Besides, mem does not wait for pages that the process itself has to bring (userfaultfd),
// and reads what has no permission to be read. It costs 1.3 µs a page instead of 0.6, some 5 µs of
// the 200 that a process takes.
//
// Its methods may be called by several goroutines at once. Close it after use: it keeps up to three
// files open.
type Memory struct {
	p    *Process
	dir  dir         // the process, or a thread of it whose memory can be seen
	file procfs.File // mem

	mu     sync.Mutex
	users  int // calls under way, those that were left behind too
	closed bool
	pages  procfs.File    // pagemap; 0: not open yet
	mapped []rtld.Mapping // see Mapped
}

// Memory opens the memory of the process. The error is a [*LookError]: [ErrNoMemory],
// [ErrPermission], [ErrGone] or [ErrChanged].
func (p *Process) Memory(ctx context.Context) (*Memory, error) {
	if p.Kernel || !p.Alive() {
		return nil, lookError(p.PID, "mem", ErrNoMemory)
	}
	m, err := await(ctx, p.memory)
	return m, lookError(p.PID, "mem", err)
}

func (p *Process) memory() (*Memory, error) {
	d, err := p.openUnverified()
	if err != nil {
		return nil, err
	}
	defer d.Close()
	live, err := d.live(p.State)
	if err != nil {
		return nil, err
	}
	m := &Memory{p: p, dir: live}
	if m.file, err = live.Open("mem", procfs.ReadOnly); err != nil {
		live.Close()
		return nil, err
	}
	if err := p.verify(d); err != nil { // of what is open now
		m.Close()
		return nil, err
	}
	return m, nil
}

// Close frees what the Memory holds. It may be called more than once.
func (m *Memory) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		m.free()
	}
}

func (m *Memory) free() {
	if m.closed && m.users == 0 {
		m.file.Close()
		if m.pages != 0 {
			m.pages.Close()
		}
		m.dir.Close()
	}
}

// pagemap returns the open pagemap of the address space, which belongs to m.
func (m *Memory) pagemap() (procfs.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pages == 0 {
		f, err := m.dir.Open("pagemap", procfs.ReadOnly)
		if err != nil {
			return 0, err
		}
		m.pages = f
	}
	return m.pages, nil
}

func (m *Memory) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users--
	m.free()
}

// with runs f, which uses m, under the context. What makes no sense of a program that is not there
// any more is no verdict on the one that is: the kernel shows no mappings at all to who opened maps
// before an exec.
func with[T any](ctx context.Context, m *Memory, what string, f func() (T, error)) (T, error) {
	v, err := await(ctx, func() (T, error) {
		m.mu.Lock()
		if m.closed {
			m.mu.Unlock()
			var zero T
			return zero, ErrClosed
		}
		m.users++
		m.mu.Unlock()
		defer m.leave()
		v, err := f()
		if errors.Is(err, ErrMalformed) {
			if lost := m.intact(); lost != nil {
				err = lost
			}
		}
		return v, err
	})
	return v, lookError(m.p.PID, what, err)
}

// ReadAt reads len(b) bytes at an address. If it reads fewer, n says how many, and the error is a
// [*LookError] with [ErrUnreadable], [ErrGone] or [ErrChanged]. Memory without the permission to
// read is read too.
//
// If the context ends, b keeps as it was: the call may still be under way, into memory of its own.
func (m *Memory) ReadAt(ctx context.Context, b []byte, addr uint64) (n int, err error) {
	if direct(ctx) {
		return with(ctx, m, "mem", func() (int, error) { return m.readAt(b, addr) })
	}
	for n < len(b) { // in parts, so that what is allocated does not depend on b
		size, from := min(len(b)-n, 1<<20), addr+uint64(n) // of its own, too
		part, err := with(ctx, m, "mem", func() ([]byte, error) {
			own := make([]byte, size)
			got, err := m.readAt(own, from)
			return own[:got], err
		})
		n += copy(b[n:], part)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// reader reads a Memory without a context: for what runs under one already.
type reader struct{ m *Memory }

// ReadAt reads len(b) bytes at an address.
func (r reader) ReadAt(b []byte, addr uint64) (n int, err error) { return r.m.readAt(b, addr) }

// Walk implements [rtld.Source]. The error is a [*LookError] with the process, and what was read.
func (m *Memory) Walk(ctx context.Context, what string,
	f func(r rtld.Reader) (any, error)) (any, error) {
	return with(ctx, m, what, func() (any, error) { return f(reader{m}) })
}

// readAt reads without a context.
func (m *Memory) readAt(b []byte, addr uint64) (n int, err error) {
	for n < len(b) {
		at := addr + uint64(n)
		if at < addr || at > math.MaxInt64 {
			return n, unreadable(at)
		}
		got, err := unix.Pread(int(m.file), b[n:], int64(at))
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EIO), errors.Is(err, unix.EFAULT):
			return n, unreadable(at)
		case err != nil:
			return n, err
		case got == 0: // the address space is no more
			return n, m.lost()
		}
		n += max(got, 0)
	}
	return n, nil
}

func unreadable(addr uint64) error { return fmt.Errorf("%w at %#x", ErrUnreadable, addr) }

// lost tells what became of a process whose address space ended.
func (m *Memory) lost() error {
	d, err := m.p.open()
	if err != nil {
		return err
	}
	defer d.Close()
	if s, err := d.stat(); err != nil || s.leaderGone() {
		// exec begins by making an end of all other threads: its thread is the main one
		return cmp.Or(err, ErrGone)
	}
	return ErrChanged // exec, in the moment before the new program has its place
}

// used returns nil if a task still uses the address space: it is intact for a question that
// is asked again when the process is stopped, at a tenth of the price.
func (m *Memory) used() error {
	// nothing is mapped at 0, but it can only be seen in an address space that is there
	var b [1]byte
	if _, err := m.readAt(b[:], 0); err != nil && !errors.Is(err, ErrUnreadable) {
		return err
	}
	return nil
}

// intact returns nil if the program still runs that the Memory was opened for.
func (m *Memory) intact() error {
	if err := m.used(); err != nil {
		return err
	}
	s, err := m.dir.stat()
	if err == nil && m.p.program != (program{}) && s.replaced(m.p.program) {
		return ErrChanged // of two processes that share memory, as after vfork, this one left it
	}
	return err
}
