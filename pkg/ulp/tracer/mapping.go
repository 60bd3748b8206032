package tracer

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
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
	if t.maps == nil {
		f, err := t.dir.open(taskFile(t.threads[0].TID, "maps"), os.O_RDONLY)
		if err != nil {
			return Range{}, err
		}
		t.maps = f
	}
	q := procmapQuery{flags: procmapNext, addr: addr}
	q.size = uint64(unsafe.Sizeof(q))
	_, _, e := unix.Syscall(unix.SYS_IOCTL, t.maps.Fd(), procmapRequest, uintptr(unsafe.Pointer(&q)))
	switch {
	case e == 0:
		return Range{q.start, q.end}, nil
	case errors.Is(e, unix.ENOENT):
		return Range{}, ErrStack
	}
	if _, err := t.maps.Seek(0, io.SeekStart); err != nil {
		return Range{}, err
	}
	return findMapping(t.maps, addr)
}

// findMapping is mapping for older kernels: it looks through the whole list.
func findMapping(f io.Reader, addr uint64) (Range, error) {
	s := bufio.NewScanner(f)
	for s.Scan() {
		from, rest, _ := bytes.Cut(s.Bytes(), []byte{'-'})
		to, _, _ := bytes.Cut(rest, []byte{' '})
		start, err1 := strconv.ParseUint(string(from), 16, 64)
		end, err2 := strconv.ParseUint(string(to), 16, 64)
		if err1 != nil || err2 != nil {
			return Range{}, errors.Join(err1, err2)
		}
		if addr < end {
			return Range{start, end}, nil
		}
	}
	return Range{}, errors.Join(s.Err(), ErrStack)
}
