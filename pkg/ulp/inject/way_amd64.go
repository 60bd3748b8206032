package inject

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/ulp/tracer"
)

// way is how memory comes into a process. Each maps private memory, which is filled from outside, through /proc/PID/mem: no
// call is made there but those that map, and nothing here opens what the process could put another file in the place of.
type way struct {
	name string
	// open returns the calls that give a descriptor, with their names; nil: there is none.
	open func(s *script, rg *region)
}

// ways are tried in this order, as long as the kernel says no to one.
//
// Anonymous memory comes first: it wants no descriptor, no file, no room in a file's size, and nothing but mmap of filters.
// A memory file is for security modules that do not let a process execute anonymous memory (SELinux's execmem).
var ways = []*way{
	{name: "anonymous"},
	{name: "memfd", open: memoryFile},
}

// script is a list of system calls, of which later ones may take what earlier ones returned. No call may do harm if one before
// it failed, since some threads make all of them at once: all threads stand, and it was seen that there is room.
type script struct {
	data  []byte // that pointers lead to
	calls []scripted
}

// scripted is a call of a script.
type scripted struct {
	tracer.BatchCall
	what    string // for errors
	pointer uint64 // 1 + where what its first argument leads to is in data; 0: none
	maps    bool   // a whole region
	opens   bool   // a file
}

func (s *script) add(what string, c tracer.Call) *scripted {
	s.calls = append(s.calls, scripted{BatchCall: tracer.BatchCall{Call: c}, what: what})
	return &s.calls[len(s.calls)-1]
}

// memoryFile adds the calls that make a memory file.
func memoryFile(s *script, rg *region) {
	file := len(s.calls)
	c := s.add("a memory file", call(unix.SYS_MEMFD_CREATE, 0, unix.MFD_CLOEXEC))
	c.opens, c.pointer = true, 1+uint64(len(s.data))
	s.data = append(s.data, "lpbuild:\x00"...)
	c = s.add("sizing the memory file", call(unix.SYS_FTRUNCATE, 0, rg.size))
	c.Arg, c.From = 1, file
}

// bring adds the calls that map a region.
func (s *script) bring(w *way, rg *region) {
	file := len(s.calls)
	flags := uint64(unix.MAP_PRIVATE)
	if w.open == nil {
		flags |= unix.MAP_ANONYMOUS
	} else {
		w.open(s, rg)
	}
	mmap := func(e extent, prot, how uint64) *scripted {
		off, fd := e.off, uint64(0)
		if w.open == nil {
			off, fd = 0, ^uint64(0)
		}
		c := s.add(fmt.Sprintf("mapping %d KiB", e.size>>10), call(unix.SYS_MMAP, rg.base+e.off, e.size, prot, flags|how, fd, off))
		if w.open != nil {
			c.Arg, c.From = 5, file
		}
		return c
	}
	mmap(extent{0, rg.size}, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_FIXED_NOREPLACE).maps = true
	for _, e := range rg.writable { // over what the call before has mapped, so that nothing is between two mappings of ours
		mmap(e, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_FIXED)
	}
	if w.open != nil {
		c := s.add("closing the file", call(unix.SYS_CLOSE))
		c.Arg, c.From = 1, file
	}
}

// giveBack adds the calls that close files and give memory back.
func (s *script) giveBack(files []int, frees []*freed) {
	for _, fd := range files {
		s.add("closing a forgotten memory file", call(unix.SYS_CLOSE, uint64(fd)))
	}
	for _, f := range frees {
		s.add("giving memory back", call(unix.SYS_MUNMAP, f.base, f.size))
	}
}

// at returns the calls with the data at an address.
func (s *script) at(data uint64) []tracer.BatchCall {
	list := make([]tracer.BatchCall, len(s.calls))
	for i, c := range s.calls {
		list[i] = c.BatchCall
		if c.pointer > 0 {
			list[i].Args[0] = data + c.pointer - 1
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

// gives says that a call gives something back: its failure changes nothing.
func (c *scripted) gives() bool { return c.Nr == unix.SYS_MUNMAP || c.Nr == unix.SYS_CLOSE }

// failed says whether a call failed, and why.
func (c *scripted) failed(made tracer.Call, res tracer.Result) error {
	switch {
	case c.gives():
	case res.Denied:
		return fmt.Errorf("%s: %w", c.what, ErrSeccomp)
	case res.Errno == unix.EEXIST, res.Errno == 0 && c.maps && res.Value != made.Args[0]:
		return fmt.Errorf("%s: %w", c.what, ErrStale) // somebody else took the room; before Linux 4.17 it is elsewhere
	case res.Errno != 0:
		return fmt.Errorf("%s: %w: %w", c.what, ErrRefused, res.Errno)
	}
	return nil
}

// hinted makes the addresses of what is to be mapped a wish, which filters that do not know MAP_FIXED_NOREPLACE let pass: while
// nobody else runs, the kernel fulfils it.
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
