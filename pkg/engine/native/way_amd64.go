package native

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// way is how memory comes into a process. Each maps private memory, which is filled from outside, through /proc/PID/mem: no
// call is made there but those that map, and nothing here opens what the process could put another file in the place of.
type way struct {
	name    string
	applies func(r *run) error          // why it must not be tried; nil: it always may be
	bring   func(s *script, rg *region) // adds the calls that map a region
	check   func(r *run) error          // whether what was mapped is what was asked for; nil: it is
	full    bool                        // what is mapped is not zeros, so that all of it has to be written
}

// ways are tried in this order, as long as the kernel says no to one.
//
// Anonymous memory comes first: it wants no descriptor, no file, no room in a file's size, and nothing but mmap of filters. The
// others are for security modules that do not let a process execute anonymous memory (SELinux's execmem). Most of these forbid
// memory files, too, and permit files with the label of a library. That comes last: who truncates a file takes the code away
// from all who have mapped it, which cannot happen to a memory file.
var ways = []*way{
	{name: "anonymous", bring: anonymous},
	{name: "memfd", bring: memoryFile, applies: (*run).mayGrow, check: (*run).mappedMemory},
	{name: "file", bring: containerFile, applies: (*run).hasFiles, check: (*run).mappedFiles, full: true},
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
	return s.add(fmt.Sprintf("mapping %d KiB", e.size>>10), call(unix.SYS_MMAP, rg.base+e.off, e.size, uint64(prot),
		unix.MAP_PRIVATE|uint64(flags), fd, off))
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

const (
	readExec  = unix.PROT_READ | unix.PROT_EXEC
	readWrite = unix.PROT_READ | unix.PROT_WRITE
)

// anonymous adds the calls that map a region without a file. Variables come over what the first call has mapped, so that
// nothing is between two mappings of ours.
func anonymous(s *script, rg *region) {
	s.mmap(rg, extent{0, rg.size}, readExec, unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE, ^uint64(0), 0).maps = true
	for _, e := range rg.writable {
		s.mmap(rg, e, readWrite, unix.MAP_ANONYMOUS|unix.MAP_FIXED, ^uint64(0), 0)
	}
}

// memoryFile adds the calls that make a memory file and map a region from it.
func memoryFile(s *script, rg *region) {
	file := len(s.calls)
	c := s.add("a memory file", call(unix.SYS_MEMFD_CREATE, 0, unix.MFD_CLOEXEC))
	c.opens = true
	s.points(c, 1, "lpbuild:")
	c = s.add("sizing the memory file", call(unix.SYS_FTRUNCATE, 0, rg.size))
	c.Arg, c.From = 1, file
	s.mmapFile(rg, extent{0, rg.size}, readExec, unix.MAP_FIXED_NOREPLACE, file, 0).maps = true
	for _, e := range rg.writable {
		s.mmapFile(rg, e, readWrite, unix.MAP_FIXED, file, e.off)
	}
	s.closes(file)
}

// containerFile adds the calls that open a container and map a region from it: see pieceAt.
func containerFile(s *script, rg *region) {
	file := len(s.calls)
	at := int64(unix.AT_FDCWD)
	c := s.add("opening "+rg.file.Path, call(unix.SYS_OPENAT, uint64(at), 0, fileFlags))
	c.opens = true
	s.points(c, 2, rg.file.Path)
	s.mmapFile(rg, extent{0, rg.size}, readExec, unix.MAP_FIXED_NOREPLACE, file, reservedAt).maps = true
	for _, e := range rg.pieces(rg.file) {
		s.mmapFile(rg, e, readExec, unix.MAP_FIXED, file, pieceAt)
	}
	for _, e := range rg.writable {
		s.mmap(rg, e, readWrite, unix.MAP_ANONYMOUS|unix.MAP_FIXED, ^uint64(0), 0)
	}
	s.closes(file)
}

// giveBack adds the calls that close files and give memory back.
func (s *script) giveBack(files []int, frees []*freed) {
	for _, fd := range files {
		s.add("closing a forgotten file", call(unix.SYS_CLOSE, uint64(fd)))
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
