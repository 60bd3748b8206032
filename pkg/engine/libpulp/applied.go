package libpulp

import (
	"bytes"
	"context"
	"path"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// Applied is a live patch that libpulp.so has in its list. Library and Container are the process's
// data and untrusted: make them printable before they reach a terminal, and never open the path;
// see [Runtime.Comments].
type Applied struct {
	ID        [32]byte // see ulp.Metadata.PatchID
	Library   string   // base name of the target, as the patch gives it
	Container string   // path of the container in the process
	Time      time.Time
	Functions []Switched
	// Dependencies are ids of patches that must not be reverted before this one.
	Dependencies [][32]byte

	// Target is the library whose functions are replaced; nil if they are in none of those that
	// were loaded at [Find].
	Target *rtld.Library
}

// Name returns the base name of the container.
func (a *Applied) Name() string { return path.Base(a.Container) }

// Switched is a function that a patch replaces: addresses in the process.
type Switched struct{ Old, New uint64 }

// What a process may make us read. A real one stays far below.
const (
	maxApplied   = 1024
	maxFunctions = 1 << 14 // of all patches together
	maxDepends   = 1024    // likewise
	maxString    = 4096    // libpulp.so cuts them off at 256
	maxStrings   = 1 << 20 // bytes of all strings together
	listTries    = 5
)

// Applied returns the patches that are applied, the newest first, without stopping the process: the
// list is read twice, and again until two readings agree. The error is an [*Error] with [ErrState]
// and [ErrMalformed] for a list that is not one (cyclic, endless, pointers to nowhere), with
// [ErrChanged] for one that keeps changing, or that of package process.
func (r *Runtime) Applied(ctx context.Context) ([]Applied, error) {
	l, err := r.list(memory{ctx, r.mem})
	return l.patches, err
}

// list is the patches applied, and what was read to learn of them.
type list struct {
	patches []Applied
	raw     []byte
}

func (r *Runtime) list(rd reader) (list, error) {
	var before list
	for try := range listTries {
		l, err := r.readList(rd)
		if err == nil && (len(l.patches) == 0 || try > 0 && bytes.Equal(l.raw, before.raw)) {
			r.describe(l.patches)
			return l, nil
		}
		if err != nil && try == listTries-1 {
			return list{}, fault(ErrState, err, "list of patches")
		}
		if before = l; err != nil {
			before = list{}
		}
	}
	return list{}, fault(ErrState, ErrChanged, "list of patches")
}

// describe finds the target of each patch.
func (r *Runtime) describe(patches []Applied) {
	for i := range patches {
		if a := &patches[i]; len(a.Functions) > 0 {
			a.Target = r.libraryAt(a.Functions[0].Old)
		}
	}
}

func (r *Runtime) libraryAt(addr uint64) *rtld.Library {
	for _, l := range r.Libraries {
		if l.Segment(addr) != nil {
			return l
		}
	}
	return nil
}

// walk reads the list once.
type walk struct {
	rd                         reader
	raw                        []byte
	strings, functions, depend int
	timed                      bool // entries have a time
}

// Layouts of libpulp.so's structures.
const (
	patchSize   = 72 // id[32], library, container, units, next, dependencies
	patchTime   = 8  // after, since 0.3.1
	unitSize    = 40 // old, new, overwritten[14], 2 bytes, next
	dependsSize = 48 // id[32], 8 bytes, next
)

func (r *Runtime) readList(rd reader) (list, error) {
	w := &walk{rd: rd, timed: r.atLeast(0, 3, 1)}
	var l list
	at, err := w.word(r.sym.state + 8)
	if err != nil {
		return l, err
	}
	for seen := make(map[uint64]bool); at != 0; {
		switch {
		case seen[at]:
			return l, malformed("cycle")
		case len(l.patches) == maxApplied:
			return l, malformed("more than %d patches", maxApplied)
		}
		seen[at] = true
		a, next, err := w.patch(at)
		if err != nil {
			return l, err
		}
		l.patches, at = append(l.patches, a), next
	}
	l.raw = w.raw
	return l, nil
}

// newest reads the id and the functions of the newest patch only; ok is false if there is none.
func (r *Runtime) newest(rd reader) (id [32]byte, functions []Switched, ok bool, err error) {
	w := &walk{rd: rd}
	at, err := w.word(r.sym.state + 8)
	if err != nil || at == 0 {
		return id, nil, false, err
	}
	b, err := w.read(at, patchSize)
	if err == nil {
		copy(id[:], b)
		functions, err = w.units(le.Uint64(b[48:]))
	}
	return id, functions, err == nil, err
}

// read reads n bytes, which stay as they are.
func (w *walk) read(addr, n uint64) ([]byte, error) {
	b := make([]byte, n)
	if addr+n < addr {
		return nil, malformed("address %#x", addr)
	}
	err := w.rd.read(b, addr)
	w.raw = append(w.raw, b...)
	return b, err
}

func (w *walk) word(addr uint64) (uint64, error) {
	b, err := w.read(addr, 8)
	if err != nil {
		return 0, err
	}
	return le.Uint64(b), nil
}

func (w *walk) text(addr uint64) (string, error) {
	if addr == 0 {
		return "", nil
	}
	s, err := text(w.rd, addr, maxString)
	w.raw = append(append(w.raw, s...), 0)
	if w.strings += len(s); w.strings > maxStrings {
		return "", malformed("more than %d bytes of names", maxStrings)
	}
	return s, err
}

// patch reads one entry of the list.
func (w *walk) patch(at uint64) (a Applied, next uint64, err error) {
	size := uint64(patchSize)
	if w.timed {
		size += patchTime
	}
	b, err := w.read(at, size)
	if err != nil {
		return a, 0, err
	}
	copy(a.ID[:], b)
	if a.Library, err = w.text(le.Uint64(b[32:])); err != nil {
		return a, 0, err
	}
	if a.Container, err = w.text(le.Uint64(b[40:])); err != nil {
		return a, 0, err
	}
	if a.Functions, err = w.units(le.Uint64(b[48:])); err != nil {
		return a, 0, err
	}
	if a.Dependencies, err = w.dependencies(le.Uint64(b[64:])); err != nil {
		return a, 0, err
	}
	if w.timed {
		if t := int64(le.Uint64(b[patchSize:])); t > 0 && t < 1<<37 { // years 1970 to 6325
			a.Time = time.Unix(t, 0)
		}
	}
	return a, le.Uint64(b[56:]), nil
}

// units reads the functions of a patch. Cycles end at the bound.
func (w *walk) units(at uint64) ([]Switched, error) {
	var list []Switched
	for ; at != 0; w.functions++ {
		if w.functions == maxFunctions {
			return nil, malformed("more than %d functions", maxFunctions)
		}
		b, err := w.read(at, unitSize)
		if err != nil {
			return nil, err
		}
		list = append(list, Switched{Old: le.Uint64(b), New: le.Uint64(b[8:])})
		at = le.Uint64(b[32:])
	}
	return list, nil
}

// dependencies reads the ids that a patch depends on.
func (w *walk) dependencies(at uint64) ([][32]byte, error) {
	var list [][32]byte
	for ; at != 0; w.depend++ {
		if w.depend == maxDepends {
			return nil, malformed("more than %d dependencies", maxDepends)
		}
		b, err := w.read(at, dependsSize)
		if err != nil {
			return nil, err
		}
		list = append(list, [32]byte(b))
		at = le.Uint64(b[40:])
	}
	return list, nil
}
