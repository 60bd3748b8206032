package tracer

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
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

// mapping returns the mapping that an address is in, or the next one above. Its error is ErrStack if there is neither.
func (t *Tracee) mapping(addr uint64) (Range, error) {
	q := procmapQuery{flags: procmapNext, addr: addr}
	switch e := t.query(&q); {
	case e == 0:
		return Range{q.start, q.end}, nil
	case errors.Is(e, unix.ENOENT):
		return Range{}, ErrStack
	}
	if _, err := t.space.maps.Seek(0, io.SeekStart); err != nil {
		return Range{}, err
	}
	r, _, err := findMapping(t.space.maps, addr)
	return r, err
}

// initialStack returns the mapping that an address is in if the kernel calls it the first thread's stack.
func (t *Tracee) initialStack(addr uint64) (Range, bool) {
	const want = "[stack]\x00"
	var name [len(want)]byte
	var pin runtime.Pinner
	pin.Pin(&name)
	defer pin.Unpin()
	q := procmapQuery{addr: addr, nameSize: uint32(len(name)), nameAddr: uint64(uintptr(unsafe.Pointer(&name)))}
	switch e := t.query(&q); {
	case e == 0:
		return Range{q.start, q.end}, string(name[:]) == want
	case errors.Is(e, unix.ENOENT), errors.Is(e, unix.ENAMETOOLONG):
		return Range{}, false
	}
	if _, err := t.space.maps.Seek(0, io.SeekStart); err != nil {
		return Range{}, false
	}
	r, path, err := findMapping(t.space.maps, addr)
	return r, err == nil && r.Start <= addr && path == "[stack]"
}

// query asks the kernel for a mapping. Any other error than ENOENT and ENAMETOOLONG is that of a kernel that cannot tell.
func (t *Tracee) query(q *procmapQuery) unix.Errno {
	q.size = uint64(unsafe.Sizeof(*q))
	_, _, e := unix.Syscall(unix.SYS_IOCTL, t.space.maps.Fd(), procmapRequest, uintptr(unsafe.Pointer(q)))
	return e
}

// findMapping is mapping for older kernels: it looks through the whole list. path is what that says after the numbers.
func findMapping(f io.Reader, addr uint64) (r Range, path string, err error) {
	s := bufio.NewScanner(f)
	for s.Scan() {
		from, rest, _ := bytes.Cut(s.Bytes(), []byte{'-'})
		to, rest, _ := bytes.Cut(rest, []byte{' '})
		start, err1 := strconv.ParseUint(string(from), 16, 64)
		end, err2 := strconv.ParseUint(string(to), 16, 64)
		if err1 != nil || err2 != nil {
			return Range{}, "", errors.Join(err1, err2)
		}
		if addr < end {
			return Range{start, end}, lastField(rest), nil
		}
	}
	return Range{}, "", errors.Join(s.Err(), ErrStack)
}

func lastField(b []byte) string {
	if f := bytes.Fields(b); len(f) > 0 {
		return string(f[len(f)-1])
	}
	return ""
}
