package process

import (
	"context"
	"errors"
	"fmt"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// EntryState is what the entry of a function looks like.
type EntryState int

// States of an entry.
const (
	// EntryUnknown: neither of the others: compiled without NOPs, or changed by someone else.
	EntryUnknown EntryState = iota
	// EntryNOPs: the NOPs of -fpatchable-function-entry: calls run the function itself.
	EntryNOPs
	// EntryDetour: a jump back to a jump in the place of the NOPs: calls run Target. Whose it is
	// says the place of Target.
	EntryDetour
)

// String returns "unknown", "NOPs" or "detour".
func (s EntryState) String() string {
	switch s {
	case EntryNOPs:
		return "NOPs"
	case EntryDetour:
		return "detour"
	}
	return "unknown"
}

// Prologue is what stands at and before the entry of a function.
type Prologue struct {
	State  EntryState
	Target uint64 // of a detour
	// Stale is the target of a detour that was taken back: the jump before the entry is still
	// there, and nothing leads to it any more. libpulp leaves it so. 0 if there is none.
	Stale uint64
	// the entry begins with endbr64, and the NOPs or the jump are after it; on ppc64le, with the
	// TOC's setup
	Landing bool
	// Single says that the NOP at the entry is one instruction, so that no thread can stand within
	// it. On x86_64 gcc makes two of one byte each.
	Single bool
	Before []byte // the bytes before the entry
	After  []byte // the bytes from the entry on
}

// entryFormat is what an architecture's entries look like. Its decode fills a Prologue from Before
// and After.
type entryFormat struct {
	before, after int // bytes to read
	align         uint64
	decode        func(p *Prologue, addr uint64)
}

// entryFormats has one file each. aarch64 is to come: neither libpulp nor lpbuild patches it yet.
var entryFormats = map[symtab.Arch]entryFormat{symtab.X86_64: entryX86, symtab.PPC64LE: entryPower}

// Prologue reads the entry of a function at an address of its symbol. What is there need not be a
// function of the process's own: the caller takes the address from [rtld.Symbols] or from the
// catalogue, within [rtld.Library.Segments].
//
// The error is a [*LookError]: [ErrUnreadable] if no code is there, [ErrMalformed] for an address
// that no function can have, or [symtab.ErrUnsupported] for an architecture that is not known.
func (m *Memory) Prologue(ctx context.Context, addr uint64, arch symtab.Arch) (*Prologue, error) {
	return with(ctx, m, "function entry", func() (*Prologue, error) {
		return readPrologue(reader{m}, addr, arch)
	})
}

func readPrologue(r rtld.Reader, addr uint64, arch symtab.Arch) (*Prologue, error) {
	f, ok := entryFormats[arch]
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: function entries of architecture %q", symtab.ErrUnsupported,
			arch)
	case addr < uint64(f.before) || addr%f.align != 0:
		return nil, malformed("no function can be at %#x", addr)
	}
	b := make([]byte, f.before+f.after)
	n, err := r.ReadAt(b, addr-uint64(f.before))
	if err != nil && (!errors.Is(err, ErrUnreadable) || n <= f.before) {
		if n, err = r.ReadAt(b[f.before:], addr); n == 0 || !errors.Is(err, ErrUnreadable) &&
			err != nil {
			return nil, err
		}
		// What is before the entry cannot be read: there are no NOPs.
		return &Prologue{After: b[f.before : f.before+n]}, nil
	}
	p := &Prologue{Before: b[:f.before:f.before], After: b[f.before:n]}
	if n == len(b) {
		f.decode(p, addr)
	}
	return p, nil
}
