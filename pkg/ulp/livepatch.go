package ulp

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// ErrNotPacked means that a container has no live patch in it: the section .ulp is missing.
var ErrNotPacked = errors.New("not a live patch: no section .ulp")

// LivePatch is everything that a packed container says about itself.
type LivePatch struct {
	BuildID  []byte // of the container
	Arch     symtab.Arch
	Metadata *Metadata
	Reverse  *Metadata // what the section .ulp.rev says; nil if there is none
	Comments string    // without the NUL at the end; "" if there are none
	// where the native engine may put detours; "" if the container does not say, which is
	// EntriesNOPs
	Entries symtab.Entries
	// Unwinding says what passes through the replacements; "" if the container does not say, which
	// is UnwindingAny.
	Unwinding Unwinding
	// Proven is what the packer has proven of the target; nil: nothing, or by other rules.
	Proven *Proven
}

// LivePatch reads the sections that make the container a live patch. The error wraps
// [ErrNotPacked], or is a [*symtab.FormatError] whose offset counts from the section's start.
func (c *Container) LivePatch() (*LivePatch, error) {
	data, ok := c.Section(SectionMetadata)
	if !ok {
		return nil, ErrNotPacked
	}
	p := &LivePatch{BuildID: bytes.Clone(c.BuildID), Arch: c.Arch}
	var err error
	if p.Metadata, err = ParseMetadata(data); err != nil {
		return nil, fmt.Errorf("section %s: %w", SectionMetadata, err)
	}
	if data, ok := c.Section(SectionReverse); ok {
		if p.Reverse, err = ParseReverse(data); err != nil {
			return nil, fmt.Errorf("section %s: %w", SectionReverse, err)
		}
	}
	if data, ok := c.Section(SectionComments); ok {
		p.Comments = string(bytes.TrimRight(data, "\x00"))
	}
	if data, ok := c.Section(SectionEntries); ok {
		if p.Entries, err = symtab.ParseEntries(string(data)); err != nil {
			return nil, fmt.Errorf("section %s: %w", SectionEntries,
				&symtab.FormatError{What: "entries", Err: err})
		}
	}
	if data, ok := c.Section(SectionUnwinding); ok {
		if p.Unwinding, err = ParseUnwinding(string(data)); err != nil {
			return nil, fmt.Errorf("section %s: %w", SectionUnwinding,
				&symtab.FormatError{What: "unwinding", Err: err})
		}
	}
	if data, ok := c.Section(SectionProven); ok {
		if p.Proven, err = parseProven(data); err != nil {
			return nil, fmt.Errorf("section %s: %w", SectionProven, err)
		}
	}
	return p, nil
}

// Consistent returns why the parts of the live patch do not belong together, nil if they do: patch
// id and build-id of the container, and the section for reverting. A patch that another tool
// changed after it was packed is still one that can be applied, so that this is not an error of
// [Container.LivePatch].
func (p *LivePatch) Consistent() error {
	var errs []error
	if id := p.BuildID; len(id) != buildIDSize || !bytes.Equal(p.Metadata.PatchID[:16], id[:16]) {
		errs = append(errs, fmt.Errorf("the patch id is not of a container with build-id %s",
			symtab.HexOrNone(id)))
	}
	switch r := p.Reverse; {
	case r == nil:
		errs = append(errs, fmt.Errorf("no section %s: the patch cannot be reverted by it",
			SectionReverse))
	case r.PatchID != p.Metadata.PatchID:
		errs = append(errs, fmt.Errorf("section %s is of another live patch", SectionReverse))
	case r.Target.Name != p.Metadata.Target.Name || !bytes.Equal(r.Target.BuildID,
		p.Metadata.Target.BuildID):
		errs = append(errs, fmt.Errorf("section %s is for another target", SectionReverse))
	}
	return errors.Join(errs...)
}

// Dump returns the live patch as a person or a script reads it, with the labels that `ulp dump` has
// and some more; path is the container's. Names are shown such that they cannot steer a terminal.
func (p *LivePatch) Dump(path string) string {
	var b strings.Builder
	m := p.Metadata
	dumpHead(&b, m, path)
	fmt.Fprintf(&b, "* units: %d\n", len(m.Functions))
	for _, f := range m.Functions {
		fmt.Fprintf(&b, "\n** old_fname: %s\n** new_fname: %s\n** old_faddr: %#x\n", oneLine(f.Old),
			oneLine(f.New), f.OldValue)
	}
	fmt.Fprintf(&b, "\nstatic references: %d\n", len(m.References))
	for _, r := range m.References {
		tls := "no"
		if r.TLS {
			tls = "yes"
		}
		fmt.Fprintf(&b, "*** target_name: %s\n*** ref_name: %s\n*** target_offset: %x\n*** "+
			"patch_offset: %x\n*** tls variable: %s\n\n",
			oneLine(r.Target), oneLine(r.Reference), r.TargetOffset, r.PatchOffset, tls)
	}
	p.dumpRest(&b)
	return b.String()
}

// DumpReverse returns the section .ulp.rev in the form of [LivePatch.Dump]. There must be one.
func (p *LivePatch) DumpReverse(path string) string {
	var b strings.Builder
	dumpHead(&b, p.Reverse, path)
	b.WriteString("* units: 0\n\nstatic references: 0\n")
	return b.String()
}

func dumpHead(b *strings.Builder, m *Metadata, path string) {
	fmt.Fprintf(b, "patch id: %x\nso filename: %s\n\n* build id: %x\n* name: %s\n",
		m.PatchID, oneLine(path), m.Target.BuildID, oneLine(m.Target.Name))
}

// dumpRest writes what `ulp dump` does not show, and the comments.
func (p *LivePatch) dumpRest(b *strings.Builder) {
	fmt.Fprintf(b, "dependencies: %d\n", len(p.Metadata.Dependencies))
	for _, id := range p.Metadata.Dependencies {
		fmt.Fprintf(b, "*** patch id: %x\n", id)
	}
	reverse := "none"
	if r := p.Reverse; r != nil {
		reverse = fmt.Sprintf("%s %x", oneLine(r.Target.Name), r.Target.BuildID)
	}
	fmt.Fprintf(b, "container: %s, build-id %s\nreverse patch: %s\n", p.Arch,
		symtab.HexOrNone(p.BuildID), reverse)
	if p.Entries == symtab.EntriesAny {
		b.WriteString("entries: any, where it is proven to be safe\n")
	}
	if p.Unwinding == UnwindingNone {
		b.WriteString("unwinding: none, exceptions and cancellation do not come by\n")
	}
	if err := p.Consistent(); err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(b, "warning: %s\n", oneLine(strings.TrimSuffix(line, "\n")))
		}
	}
	if p.Comments != "" {
		fmt.Fprintf(b, "* comments: \n%s\n", diag.Printable(p.Comments))
	}
}

// oneLine returns s such that it stays on its line: names in a hostile file may hold anything but
// NUL.
func oneLine(s string) string {
	return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(diag.Printable(s))
}
