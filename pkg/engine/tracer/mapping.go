package tracer

import (
	"errors"
	"io"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// procmapQuery is the argument of PROCMAP_QUERY (Linux 6.11), up to what is of use here.
type procmapQuery struct {
	size, flags, addr uint64
	start, end        uint64
	_, _, _, _, _     uint64 // what else the mapping is
	nameSize, idSize  uint32
	nameAddr, idAddr  uint64
}

const (
	procmapRequest = 0xc0686611
	procmapNext    = 0x10 // or the next one above
)

// errUnmapped says that nothing is mapped at an address or above.
var errUnmapped = errors.New("nothing is mapped there")

// mapping returns the mapping that an address is in, or the next one above. Its error is errUnmapped if there is neither.
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

// Free says whether nothing is mapped in a range.
func (t *Tracee) Free(r Range) (bool, error) {
	next, err := t.mapping(r.Start)
	if errors.Is(err, errUnmapped) { // nothing at all is above
		return true, nil
	}
	return err == nil && next.Start >= r.End, err
}

// Mapping returns the mapping that an address is in, and its name as in /proc/PID/maps: also while the threads run, from
// [Tracee.WhileRunning]. The error is that of a look at what is not mapped.
func (t *Tracee) Mapping(addr uint64) (Range, string, error) {
	var name [unix.PathMax]byte
	var pin runtime.Pinner
	pin.Pin(&name)
	defer pin.Unpin()
	q := procmapQuery{addr: addr, nameSize: uint32(len(name)), nameAddr: uint64(uintptr(unsafe.Pointer(&name)))}
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

// initialStack returns the mapping that an address is in if the kernel calls it the first thread's stack.
func (s *space) initialStack(addr uint64) (Range, bool) {
	const want = "[stack]\x00"
	var name [len(want)]byte
	var pin runtime.Pinner
	pin.Pin(&name)
	defer pin.Unpin()
	q := procmapQuery{addr: addr, nameSize: uint32(len(name)), nameAddr: uint64(uintptr(unsafe.Pointer(&name)))}
	switch e := s.query(&q); {
	case e == 0:
		return Range{q.start, q.end}, string(name[:]) == want
	case errors.Is(e, unix.ENOENT), errors.Is(e, unix.ENAMETOOLONG):
		return Range{}, false
	}
	if _, err := s.maps.Seek(0, io.SeekStart); err != nil {
		return Range{}, false
	}
	r, path, err := findMapping(s.maps, addr)
	return r, err == nil && r.Start <= addr && path == "[stack]"
}

// query asks the kernel for a mapping. Any other error than ENOENT and ENAMETOOLONG is that of a kernel that cannot tell.
func (s *space) query(q *procmapQuery) unix.Errno {
	q.size = uint64(unsafe.Sizeof(*q))
	_, _, e := unix.Syscall(unix.SYS_IOCTL, s.maps.Fd(), procmapRequest, uintptr(unsafe.Pointer(q)))
	return e
}

// findMapping is mapping for older kernels: it looks through the whole list. path is what that says after the numbers.
func findMapping(f io.Reader, addr uint64) (r Range, path string, err error) {
	err = procfs.EachMapping(f, func(m *procfs.Mapping) error {
		if addr >= m.End {
			return nil
		}
		r, path = Range{m.Start, m.End}, string(m.Path)
		return procfs.ErrStop
	})
	if err == nil && r == (Range{}) {
		err = errUnmapped
	}
	return r, path, err
}
