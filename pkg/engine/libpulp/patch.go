package libpulp

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Patch is a live patch that is to be applied to processes, or reverted in them: read once, used
// for all of them, from several goroutines.
type Patch struct {
	*ulp.LivePatch
	head       []byte   // how the container begins in memory
	functions  []uint64 // values of the replacements' symbols, as Metadata.Functions
	references []uint64 // values of the pointers, as Metadata.References
}

// headSize is how much of a container is compared with what a process has mapped: ELF header,
// program headers and build-id are in it, and no relocation changes them.
const headSize = 512

// NewPatch reads a container. The error is an [*Error] with [ErrNoMetadata] if it is no live patch,
// [ErrInvalid] if its metadata are malformed, or [ErrNoNewFunction] if they name what the container
// does not have.
func NewPatch(c *ulp.Container) (*Patch, error) {
	lp, err := c.LivePatch()
	switch {
	case errors.Is(err, ulp.ErrNotPacked):
		return nil, &Error{Code: ErrNoMetadata}
	case err != nil:
		return nil, fault(ErrInvalid, err, "container")
	case c.Arch != symtab.X86_64:
		return nil, fault(ErrInvalid, symtab.ErrUnsupported, "architecture %q", c.Arch)
	case len(lp.Metadata.Functions) == 0:
		return nil, verdict(ErrInvalid, "no function is replaced")
	}
	p := &Patch{LivePatch: lp, head: c.Image()[:min(len(c.Image()), headSize)]}
	for _, f := range lp.Metadata.Functions {
		s, ok := c.Lookup(f.New)
		if !ok || s.Value == 0 {
			return nil, verdict(ErrNoNewFunction, "%q", f.New)
		}
		p.functions = append(p.functions, s.Value)
	}
	for _, r := range lp.Metadata.References {
		value := r.PatchOffset
		if s, ok := c.Lookup(r.Reference); ok && value == 0 {
			value = s.Value
		}
		if value == 0 {
			return nil, verdict(ErrNoNewFunction, "variable %q", r.Reference)
		}
		p.references = append(p.references, value)
	}
	return p, nil
}

// ID returns the patch's id.
func (p *Patch) ID() [32]byte { return p.Metadata.PatchID }

// metadata returns what libpulp.so is given to apply the patch, or to revert it.
func (p *Patch) metadata(path string, reverse bool, room uint64) ([]byte, error) {
	m := *p.Metadata
	if path == "" {
		return nil, verdict(ErrInvalid, "no path of the container")
	}
	m.Path = path
	encode := m.AppendBinary
	if reverse {
		encode = m.AppendReverse
	}
	b, err := encode(nil)
	if err != nil {
		return nil, fault(ErrInvalid, err, "metadata")
	}
	if uint64(len(b)) >= room {
		return nil, verdict(ErrInvalid, "%d bytes of metadata, libpulp.so has room for %d", len(b),
			room)
	}
	return b, nil
}

// bias returns where the container is loaded, by the places of its functions in the process.
func (p *Patch) bias(functions []Switched) (uint64, error) {
	if len(functions) != len(p.functions) {
		return 0, fmt.Errorf("%w: %d functions instead of %d", ErrRefused, len(functions),
			len(p.functions))
	}
	bias := functions[0].New - p.functions[0]
	for i, f := range functions {
		if f.New-p.functions[i] != bias {
			return 0, fmt.Errorf("%w: its replacements come from different files", ErrRefused)
		}
	}
	if bias%pageSize != 0 {
		return 0, fmt.Errorf("%w: its replacements are not those of the container", ErrRefused)
	}
	return bias, nil
}

// loaded checks that the container, and no other file of its name, is what is loaded at bias. A
// process that imitates it in memory of its own has its functions jump to where nothing can be
// executed, and to no other code.
func (p *Patch) loaded(rd reader, bias uint64) error {
	b := make([]byte, len(p.head))
	if err := rd.read(b, bias); err != nil || !bytes.Equal(b, p.head) {
		return errors.Join(fmt.Errorf("%w: the process loaded another file than the container",
			ErrRefused), err)
	}
	return nil
}

// reverseOf returns the metadata that revert a patch of which only libpulp.so's record is at hand.
func reverseOf(a *Applied, room uint64) ([]byte, error) {
	m := ulp.Metadata{PatchID: a.ID, Path: "-", Target: ulp.Target{BuildID: make([]byte, 20),
		Name: a.Library}}
	if a.Container != "" {
		m.Path = a.Container
	}
	if a.Target != nil && len(a.Target.BuildID) == len(m.Target.BuildID) {
		m.Target.BuildID = a.Target.BuildID
	}
	b, err := m.AppendReverse(nil)
	if err == nil && uint64(len(b)) >= room {
		err = malformed("%d bytes", len(b))
	}
	if err != nil {
		return nil, fault(ErrState, err, "metadata of a patch that is applied")
	}
	return b, nil
}
