package libpulp

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// When libpulp.so reverts the last patch of a function, it asks for two bytes at the entry, and
// leaves its jump in the NOPs before it. Nobody calls that, but functions exist that end without a
// jump and run on into the NOPs of the next one, as libc's __memcpy_chk does: they go on to the
// replacement, although the patch is reverted. libpulp.so needs the jump for nothing: it writes it
// anew whenever it applies a patch, and looks at the two bytes only. So the NOPs are put back,
// where it is certain that there were some: the bytes are on the list that the compiler made of
// them, __patchable_function_entries, which is in the library's data with the addresses of this
// process.
//
// No thread has to be moved for it: wherever one stands, in the middle of NOPs or before the
// jump, it goes on to the function. Killed before it, the engine leaves what libpulp.so leaves: a
// queue that is not empty, by which the next one finds what is missing, this included. Versions
// without a queue leave nothing by which it could be found.

// padding is what gcc leaves before an entry.
var padding = bytes.Repeat([]byte{0x90}, jumpSize)

// maxData bounds how much of a library's data is searched.
const maxData = 64 << 20

// padded finds out before which of the functions there were NOPs, by the list in their libraries'
// data.
func (r *Runtime) padded(ctx context.Context, entries []uint64) (map[uint64]bool, error) {
	found := make(map[uint64]bool)
	for _, l := range r.Libraries {
		wanted := make(map[uint64]uint64)
		for _, e := range entries {
			if l.Segment(e) != nil {
				wanted[e-jumpSize] = e
			}
		}
		if len(wanted) == 0 {
			continue
		}
		left := uint64(maxData)
		for _, s := range l.Segments {
			size := s.End - s.Start
			if !s.File || s.Perm&rtld.PermExec != 0 || size > left {
				continue
			}
			left -= size
			b := make([]byte, size)
			n, err := r.mem.ReadAt(ctx, b, s.Start)
			if err != nil && !errors.Is(err, process.ErrUnreadable) {
				return nil, err
			}
			for b = b[:n]; len(b) >= 8; b = b[8:] {
				// segments begin with a page, and the list is aligned
				if e, ok := wanted[le.Uint64(b)]; ok {
					found[e] = true
				}
			}
		}
	}
	return found, nil
}

// repad puts the NOPs back before the functions of a patch that was reverted, of those which no
// other patch replaces.
func (s *Session) repad(plan *Plan, a *Applied, applied []Applied) error {
	others := slices.DeleteFunc(slices.Clone(applied), func(o Applied) bool { return o.ID == a.ID })
	for _, f := range a.Functions {
		if err := s.repadOne(plan, f.Old, others); err != nil {
			return err
		}
	}
	return nil
}

// repadOne puts the NOPs back before a function that none of the patches replaces.
func (s *Session) repadOne(plan *Plan, entry uint64, applied []Applied) error {
	if !plan.padded[entry] || running(applied, entry) != nil {
		return nil
	}
	was, err := s.r.entry(s.rd.ctx, entry)
	if err != nil {
		return err
	}
	if w, ok := unjump(entry); ok && was.State == process.EntryNOPs && was.Stale != 0 {
		return s.write(w)
	}
	return nil
}

// paddedLeft is padded for the functions that are given back to themselves by what is left in the
// queue.
func (r *Runtime) paddedLeft(ctx context.Context) (map[uint64]bool, error) {
	left, err := r.queue(memory{ctx, r.mem})
	if err != nil {
		return nil, err
	}
	var entries []uint64
	for _, w := range left[:min(len(left), maxLeft)] {
		if len(w.data) == shortSize {
			entries = append(entries, w.addr, w.addr-landingSize) // whichever it is
		}
	}
	return r.padded(ctx, entries)
}

// repadLeft is repad for what was left in the queue.
func (s *Session) repadLeft(plan *Plan, writes []write, applied []Applied) error {
	for _, w := range writes {
		if len(w.data) != shortSize {
			continue
		}
		for _, entry := range []uint64{w.addr, w.addr - landingSize} {
			if err := s.repadOne(plan, entry, applied); err != nil {
				return err
			}
		}
	}
	return nil
}

// unjump returns the write that takes the jump before an entry away. It is one step for the kernel:
// a process whose engine is killed runs on with the jump, or without it. Where a page ends within
// the jump, it is led to the function itself instead, which makes no difference to callers;
// where a page ends within the address in it, ok is false and it stays.
func unjump(entry uint64) (w write, ok bool) {
	at, address := entry-jumpSize, entry-8
	switch {
	case at/pageSize == (entry-1)/pageSize:
		return write{at, padding}, true
	case address/pageSize == (entry-1)/pageSize:
		return write{address, le.AppendUint64(nil, entry)}, true
	}
	return write{}, false
}
