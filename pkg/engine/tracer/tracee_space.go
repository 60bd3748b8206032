package tracer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"unsafe"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
	"golang.org/x/sys/unix"
)

// openSpace opens the address space of a thread that is seized.
func (t *Tracee) openSpace(th *Thread) (s space, err error) {
	s.of = th
	stat, err := t.dir.Stat(th.TID)
	if err != nil {
		return space{}, err
	}
	if stat.Flags&procfs.FlagSignaled != 0 {
		return space{}, errDying // or it will be, when its core is dumped
	}
	if s.mem, err = t.openFile(th, "mem", os.O_RDWR); err == nil {
		s.maps, err = t.openFile(th, "maps", os.O_RDONLY)
	}
	if err == nil {
		s.status, err = t.openFile(th, "status", os.O_RDONLY)
	}
	if err != nil {
		s.close()
		return space{}, err
	}
	s.stack = stat.StartStack
	if s.pagemap, err = t.openFile(th, "pagemap", os.O_RDONLY); errors.Is(err, procfs.ErrAbsent) {
		err = nil
	}
	if err != nil {
		s.close()
		return space{}, err
	}
	s.warm(t.o.Gadgets)
	if s.stackEnd, err = s.growingEnd(t, th); err != nil {
		s.close()
		return space{}, err
	}
	return s, nil
}

// errDying is an ErrGone of the whole process; a thread that has ended says nothing of the others.
var errDying = fmt.Errorf("%w: a signal is ending it", ErrGone)

// open opens a file of a thread.
func (t *Tracee) openFile(th *Thread, file string, flags int) (*os.File, error) {
	f, err := t.dir.Open(procfs.TaskFile(th.TID, file), flags)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(f), file), nil
}

// mapping returns the mapping that an address is in, or the next one above. Its error is
// errUnmapped if there is neither.
func (t *Tracee) mapping(addr uint64) (Range, error) {
	q := procmapQuery{flags: procmapNext, addr: addr}
	switch e := t.space.query(&q); {
	case e == 0:
		return Range{q.start, q.end}, nil
	case errors.Is(e, unix.ENOENT):
		return Range{}, errUnmapped
	}
	if _, err := t.space.maps.Seek(0, io.SeekStart); err != nil {
		return Range{}, err
	}
	r, _, err := findMapping(t.space.maps, addr)
	return r, err
}

// Free reports whether nothing is mapped in a range.
func (t *Tracee) Free(r Range) (bool, error) {
	next, err := t.mapping(r.Start)
	if errors.Is(err, errUnmapped) { // nothing at all is above
		return true, nil
	}
	return err == nil && next.Start >= r.End, err
}

// Mapping returns the mapping that an address is in, and its name as in /proc/PID/maps: also while
// the threads run, from [Tracee.WhileRunning]. The error is that of a look at what is not mapped.
func (t *Tracee) Mapping(addr uint64) (Range, string, error) {
	var name [unix.PathMax]byte
	var pin runtime.Pinner
	pin.Pin(&name)
	defer pin.Unpin()
	q := procmapQuery{addr: addr, nameSize: uint32(len(name)),
		nameAddr: uint64(uintptr(unsafe.Pointer(&name)))}
	switch e := t.space.query(&q); {
	case e == 0:
		return Range{q.start, q.end}, string(name[:max(int(q.nameSize), 1)-1]), nil
	case errors.Is(e, unix.ENOENT), errors.Is(e, unix.ENAMETOOLONG):
		return Range{}, "", e
	}
	if _, err := t.space.maps.Seek(0, io.SeekStart); err != nil {
		return Range{}, "", err
	}
	r, path, err := findMapping(t.space.maps, addr)
	if err == nil && addr < r.Start {
		err = unix.ENOENT
	}
	return r, path, err
}
