package ulp

import (
	"bytes"
	"slices"

	//nolint:staticcheck,gosec // the format's choice; it names a patch and protects nothing
	"golang.org/x/crypto/md4"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// PackOptions are the choices of [Pack]. The zero value is what one wants.
type PackOptions struct {
	// Force packs what [Check] refuses, as long as there is something to write: symbols and
	// build-ids.
	Force bool
	// AcceptClones packs a live patch that leaves copies of replaced functions as they are
	// (ErrClone).
	AcceptClones bool
	// AllComments writes every comment of the description into the container. Otherwise it is only
	// the first line, as libpulp's packer does, which means to write all. libpulp's tools show all
	// that is there.
	AllComments bool
	// Entries chooses the functions that [Check] accepts. EntriesAny is also written into the
	// container, into the section .lpbuild.entries: so the native engine knows what it may do.
	// libpulp does not read it. What the library's proofs say goes into the section
	// .lpbuild.proven.
	Entries symtab.Entries
	// Unwinding is written into the container if it is UnwindingNone, into the section
	// .lpbuild.unwinding, for the native engine.
	Unwinding Unwinding
}

// maxMetadata is how large the section .ulp may be: libpulp.so has a buffer of 512 KiB for it
// together with the container's path, which has up to 4 KiB, and the path's length.
const maxMetadata = 512<<10 - 4<<10 - 4

// Pack returns the container's image with the sections .ulp, .ulp.rev and, if there are comments,
// .ulp.comments embedded, in place of former ones; see also PackOptions. It changes neither d, c
// nor lib, and nothing on disk.
//
// text is the description file, byte for byte: its MD4 is part of the patch id, and its comments
// are embedded. If it is nil, what d.String returns is taken for it.
//
// Unless o.Force is set, the live patch is checked first: see [Check] for the error.
func Pack(d *Description, text []byte, c *Container, lib *symtab.Library,
	o PackOptions) ([]byte, error) {
	if text == nil {
		text = []byte(d.String())
	}
	m, err := NewMetadata(d, text, c, lib, o)
	if err != nil {
		return nil, err
	}
	data, err := m.AppendBinary(nil)
	if err != nil {
		return nil, err
	}
	if len(data) > maxMetadata && !o.Force {
		return nil,
			diag.List{d.finding(d.Container, ErrTooLarge,
				"the metadata has %d bytes; libpulp takes %d", len(data), maxMetadata)}
	}
	reverse, err := m.AppendReverse(nil)
	if err != nil {
		return nil, err
	}
	sections := []Section{{SectionMetadata, data}}
	comments := commentSection(text, o.AllComments)
	if _, stale := c.Section(SectionComments); stale || len(comments) > 0 {
		sections = append(sections, Section{SectionComments, comments})
	}
	if sections = append(sections,
		Section{SectionReverse, reverse}); o.Entries == symtab.EntriesAny {
		sections = append(sections, Section{SectionEntries, []byte(symtab.EntriesAny)})
	} else if _, stale := c.Section(SectionEntries); stale {
		sections = append(sections, Section{SectionEntries, []byte(symtab.EntriesNOPs)})
	}
	var proven []byte
	if o.Entries == symtab.EntriesAny && !o.Force && lib.Checksum() != 0 {
		proven = provenSection(m, lib)
	}
	if _, stale := c.Section(SectionProven); stale || len(proven) > 0 {
		sections = append(sections, Section{SectionProven, proven})
	}
	if o.Unwinding == UnwindingNone {
		sections = append(sections, Section{SectionUnwinding, []byte(UnwindingNone)})
	} else if _, stale := c.Section(SectionUnwinding); stale {
		sections = append(sections, Section{SectionUnwinding, []byte(UnwindingAny)})
	}
	return EmbedSections(c.Image(), sections...)
}

// NewMetadata returns what [Pack] writes into the section .ulp. The error is a [diag.List].
func NewMetadata(d *Description, text []byte, c *Container, lib *symtab.Library,
	o PackOptions) (*Metadata, error) {
	k := newChecker(d, c, lib, o.Entries)
	k.acceptClones = o.AcceptClones
	if !o.Force {
		if k.check(); len(k.errs) > 0 {
			return nil, k.errs.Err()
		}
	}
	k.errs = buildIDFindings(d, c, lib)
	m := &Metadata{Target: Target{BuildID: bytes.Clone(lib.BuildID), Name: lib.Name}}
	for _, r := range d.Functions {
		s := k.symbol(r.Old, lib, lib.Name)
		k.symbol(r.New, &c.Library, k.container)
		m.Functions = append(m.Functions, Function{r.Old.Text, r.New.Text, s.Value})
	}
	for _, r := range slices.Backward(k.references()) {
		m.References = append(m.References, k.dataRef(r))
	}
	if err := k.errs.Err(); err != nil {
		return nil, err
	}
	m.PatchID = patchID(c.BuildID, text)
	return m, nil
}

// symbol returns the symbol that libpulp's packer would take. Its existence is all that is asked
// for.
func (k *checker) symbol(n Name, lib *symtab.Library, file string) symtab.Symbol {
	rows := k.meant(lib, n.Text)
	if len(rows) == 0 {
		k.absent(n, lib, file, func(s symtab.Symbol) bool { return !s.Undefined }, nil)
		return symtab.Symbol{}
	}
	return rows[0]
}

func (k *checker) dataRef(r Reference) DataRef {
	ref := DataRef{Target: r.Variable.Text, Reference: r.Pointer.Text, TLS: r.TLS,
		TargetOffset: r.TargetOffset, PatchOffset: r.PatchOffset}
	if !r.Explicit {
		ref.PatchOffset = k.symbol(r.Pointer, &k.c.Library, k.container).Value
	}
	switch {
	case IsOriginal(r.Pointer.Text):
		ref.Target, ref.TargetOffset = k.original(r)
	case !r.Explicit || r.TargetOffset == 0:
		ref.TargetOffset = k.symbol(r.Variable, k.lib, k.lib.Name).Value
	}
	return ref
}

// patchID returns the live patch's identity: half of it is the container's, half the description's.
func patchID(buildID, text []byte) [32]byte {
	var id [32]byte
	copy(id[:16], buildID)
	h := md4.New() //nolint:gosec // see the import
	h.Write(text)
	copy(id[16:], h.Sum(nil))
	return id
}

// commentSection returns the section .ulp.comments for a description, nil if it has no comments.
//
// A comment is the text after the "!" together with the line's end, if the file has one there; the
// last is followed by a NUL. libpulp's packer means to write all comments of the file like this,
// but counts each "!" too and so leaves a NUL after every line, at the first of which it stops
// writing.
func commentSection(text []byte, all bool) []byte {
	var section []byte
	found := false
	for line := range bytes.Lines(text) {
		if line[0] != '!' {
			continue
		}
		section, found = append(section, line[1:]...), true
		if !all {
			break
		}
	}
	if !found {
		return nil
	}
	return append(section, 0)
}
