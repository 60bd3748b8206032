package native

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// script is a list of system calls, of which later ones may take what earlier ones returned. No
// call may do harm if one before it failed, since some threads make all of them at once: all
// threads stand, and it was seen that there is room.
type script struct {
	data  []byte // that pointers lead to
	calls []scripted
}

// scripted is a call of a script.
type scripted struct {
	tracer.BatchCall
	what    string // for errors
	pointer int    // the argument, from 1 on, that leads to something in data; 0: none
	to      uint64 // where that is
	maps    bool   // a whole region
	opens   bool   // a file
}

// points makes an argument of a call lead to a string.
func (s *script) points(c *scripted, arg int, text string) {
	c.pointer, c.to = arg, uint64(len(s.data))
	s.data = append(append(s.data, text...), 0)
}

func (s *script) add(what string, c tracer.Call) *scripted {
	s.calls = append(s.calls, scripted{BatchCall: tracer.BatchCall{Call: c}, what: what})
	return &s.calls[len(s.calls)-1]
}

// mmap adds a call that maps a part of a region.
func (s *script) mmap(rg *region, e extent, prot, flags int, fd, off uint64) *scripted {
	return s.add(fmt.Sprintf("mapping %d KiB", e.size>>10), call(unix.SYS_MMAP, rg.base+e.off,
		e.size, uint64(prot), unix.MAP_PRIVATE|uint64(flags), fd, off))
}

// mmapFile is mmap of the file that an earlier call has opened.
func (s *script) mmapFile(rg *region, e extent, prot, flags, file int, off uint64) *scripted {
	c := s.mmap(rg, e, prot, flags, 0, off)
	c.Arg, c.From = 5, file
	return c
}

// closes adds a call that closes the file that an earlier call has opened.
func (s *script) closes(file int) {
	c := s.add("closing the file", call(unix.SYS_CLOSE))
	c.Arg, c.From = 1, file
}

// giveBack adds the calls that close files and give memory back.
func (s *script) giveBack(files []int, list []*retired) {
	for _, fd := range files {
		s.add("closing a forgotten file", call(unix.SYS_CLOSE, uint64(fd)))
	}
	for _, r := range list {
		s.add("giving memory back", call(unix.SYS_MUNMAP, r.base, r.size))
	}
}

// at returns the calls with the data at an address.
func (s *script) at(data uint64) []tracer.BatchCall {
	list := make([]tracer.BatchCall, len(s.calls))
	for i, c := range s.calls {
		list[i] = c.BatchCall
		if c.pointer > 0 {
			list[i].Args[c.pointer-1] = data + c.to
		}
	}
	return list
}

// next returns call i, with what those before it returned.
func (s *script) next(i int, data uint64, results []tracer.Result) tracer.Call {
	c := s.at(data)[i]
	if c.Arg > 0 {
		c.Args[c.Arg-1] = results[c.From].Value
	}
	return c.Call
}

// gives reports whether a call gives something back: its failure changes nothing.
func (c *scripted) gives() bool { return c.Nr == unix.SYS_MUNMAP || c.Nr == unix.SYS_CLOSE }

// failed returns why a call failed; nil if it did not.
func (c *scripted) failed(made tracer.Call, res tracer.Result) error {
	switch {
	case c.gives():
	case res.Denied:
		return fmt.Errorf("%s: %w", c.what, ErrSeccomp)
	case res.Errno == unix.EEXIST, res.Errno == 0 && c.maps && res.Value != made.Args[0]:
		// Somebody else took the room. Before Linux 4.17, the memory is elsewhere then.
		return fmt.Errorf("%s: %w", c.what, ErrStale)
	case res.Errno != 0:
		return fmt.Errorf("%s: %w: %w", c.what, ErrRefused, res.Errno)
	}
	return nil
}

// hinted makes the addresses of what is to be mapped a wish, which filters that do not know
// MAP_FIXED_NOREPLACE let pass: while nobody else runs, the kernel fulfils it.
func (s *script) hinted() *script {
	h := &script{data: s.data, calls: slices.Clone(s.calls)}
	for i := range h.calls {
		if c := &h.calls[i]; c.maps {
			c.Args[3] &^= unix.MAP_FIXED_NOREPLACE
		}
	}
	return h
}

func call(nr uint64, args ...uint64) tracer.Call {
	c := tracer.Call{Nr: nr}
	copy(c.Args[:], args)
	return c
}
