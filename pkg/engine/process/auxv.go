package process

import (
	"encoding/binary"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// Entries of the auxiliary vector, from getauxval(3).
const (
	atNull   = 0
	atPhdr   = 3
	atBase   = 7
	atUID    = 11
	atSecure = 23
)

const maxAuxv = 1024 // the kernel has room for some 50 entries

// auxv is what the kernel told the program when it started.
type auxv struct {
	bits32 bool
	phdr   uint64 // the main program's program headers; 0 if unknown
	base   uint64 // where the dynamic loader is; 0 if there is none
	uid    uint64 // the real user who started the program, in the process's user namespace
	secure bool   // it got other rights than those of that user, or a security module says so
}

// loader returns the part that leads to what the dynamic loader has loaded.
func (a *auxv) loader() rtld.Auxv { return rtld.Auxv{Phdr: a.phdr, Base: a.base} }

// parseAuxv reads pairs of a tag and a value, each 8 bytes, or 4 in a 32-bit process. The first tag
// tells which: it is a small number, and its value is never 0.
func parseAuxv(b []byte) (*auxv, error) {
	a := &auxv{}
	if len(b) == 0 {
		return a, nil // a process that is about to end
	}
	if len(b) < 8 {
		return nil, malformed("auxiliary vector of %d bytes", len(b))
	}
	word, size := func(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }, 8
	if word(b)>>32 != 0 {
		a.bits32 = true
		word, size = func(b []byte) uint64 { return uint64(binary.LittleEndian.Uint32(b)) }, 4
	}
	for ; len(b) >= 2*size; b = b[2*size:] {
		switch value := word(b[size:]); word(b) {
		case atNull:
			return a, nil
		case atPhdr:
			a.phdr = value
		case atBase:
			a.base = value
		case atUID:
			a.uid = value
		case atSecure:
			a.secure = value != 0
		}
	}
	return nil, malformed("auxiliary vector without an end")
}

// auxv reads the vector. One without an end is one that the kernel is just writing, in an exec: it
// has counted before what it copies now, and has more at the next look.
func (d dir) auxv() (*auxv, error) {
	var b [maxAuxv]byte
	for n := 1; ; n++ {
		text, err := d.Read("auxv", b[:])
		if err != nil {
			return nil, err
		}
		a, err := parseAuxv(text)
		if err == nil || n == auxvReads {
			return a, lookError(d.PID(), "auxv", err)
		}
	}
}

// auxvReads is how often a vector is read that makes no sense.
const auxvReads = 10
