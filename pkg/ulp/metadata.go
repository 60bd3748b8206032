package ulp

import (
	"errors"
	"fmt"
)

// The sections of a container that make it a live patch. None is loaded at run time.
const (
	SectionMetadata = ".ulp"          // see [ParseMetadata]
	SectionReverse  = ".ulp.rev"      // see [ParseReverse]
	SectionComments = ".ulp.comments" // comment text and a NUL
	// SectionEntries is not of libpulp's format, which ignores it: the word of an [symtab.Entries].
	// Without it, EntriesNOPs.
	SectionEntries = ".lpbuild.entries"
	// SectionUnwinding is the same with the word of an [Unwinding]. Without it, UnwindingAny.
	SectionUnwinding = ".lpbuild.unwinding"
	// SectionProven records for the native engine which functions without NOPs the packer has
	// proven, by which rules.
	SectionProven = ".lpbuild.proven"
)

const (
	typePatch   = 1
	typeReverse = 2
	buildIDSize = 20 // of the SHA-1 form that ld makes by default; libpulp reads no other
)

// Errors inside the [symtab.FormatError] of [ParseMetadata], [ParseReverse] and their encoders.
var (
	ErrTrailing = errors.New("bytes after the end")
	ErrValue    = errors.New("value out of range")
	ErrName     = errors.New("a name must not be empty, have a NUL inside, or lack the one at " +
		"its end")
)

// Metadata is what a container says about itself in its section .ulp.
type Metadata struct {
	// PatchID identifies the live patch: the first 16 bytes of the container's build-id, then the
	// MD4 of the description.
	PatchID [32]byte
	// Path of the container in the process to patch. Only in the form that is handed to libpulp.so;
	// "" in the section's.
	Path       string
	Target     Target
	Functions  []Function
	References []DataRef // in reverse order of the description
	// Dependencies are patch ids of live patches to be applied before. lpbuild makes none.
	Dependencies [][32]byte
}

// Target is the library that a live patch is for.
type Target struct {
	BuildID []byte // 20 bytes
	Name    string // base name
}

// Function is one function to replace.
type Function struct {
	Old, New string
	OldValue uint64 // symbol value of Old: its address in the target's file
}

// DataRef is one pointer to be set to private data of the target.
type DataRef struct {
	Target    string // the variable
	Reference string // the pointer
	// the variable's address in the target's file, or offset in its thread-local storage
	TargetOffset uint64
	PatchOffset  uint64 // the pointer's address in the container's file; 0: to be found by name
	TLS          bool
}

// ParseMetadata reads the section .ulp. For every m without a Path that [Metadata.AppendBinary] can
// write, ParseMetadata gives m back.
//
// The error is a [symtab.FormatError]: reading is strict, so that nothing is accepted that lpbuild
// or libpulp would not write. Memory is bounded by three times the size of data, whatever the
// lengths in it say.
func ParseMetadata(data []byte) (*Metadata, error) { return parseMetadata(data, typePatch, false) }

// ParseMetadataWithPath reads metadata in the form for libpulp.so, which has the container's path
// after the patch id. The two forms cannot always be told apart by their bytes.
func ParseMetadataWithPath(data []byte) (*Metadata, error) {
	return parseMetadata(data, typePatch, true)
}

// ParseReverse reads the section .ulp.rev, by which a patch is reverted: only PatchID and Target
// are set.
func ParseReverse(data []byte) (*Metadata, error) { return parseMetadata(data, typeReverse, false) }

// ParseReverseWithPath reads reverse metadata in the form for libpulp.so.
func ParseReverseWithPath(data []byte) (*Metadata, error) {
	return parseMetadata(data, typeReverse, true)
}

func parseMetadata(data []byte, kind byte, path bool) (*Metadata, error) {
	d := decoder{data: data, text: string(data)}
	m := &Metadata{}
	if t := d.bytes("type", 1); d.err == nil && t[0] != kind {
		d.fail(0, "type", fmt.Errorf("%d, want %d: %w", t[0], kind, ErrValue))
	}
	copy(m.PatchID[:], d.bytes("patch id", len(m.PatchID)))
	if path {
		m.Path = d.name("container path")
	}
	m.Target.BuildID = d.buildID()
	if kind == typeReverse {
		m.Target.Name = d.nameWithoutNUL("target name")
	} else {
		m.Target.Name = d.name("target name")
		d.body(m)
	}
	if d.err == nil && d.off < len(data) {
		d.fail(d.off, "end", fmt.Errorf("%d %w", len(data)-d.off, ErrTrailing))
	}
	if d.err != nil {
		return nil, d.err
	}
	return m, nil
}

// Smallest encodings of the repeated parts, so that a count can be checked against what is left of
// the input: four-byte lengths, names of one character and a NUL, and the fixed fields.
const (
	minFunction   = 4 + 2 + 4 + 2 + 8
	minDependency = 32
	minReference  = 4 + 2 + 4 + 2 + 8 + 8 + 1
)

// body reads what only a patch has and a reverse patch lacks.
func (d *decoder) body(m *Metadata) {
	if n := d.count("number of functions", minFunction); n > 0 {
		m.Functions = make([]Function, n)
		for i := range m.Functions {
			m.Functions[i] = Function{d.name("old function"), d.name("new function"),
				d.u64("function address")}
		}
	}
	if n := d.count("number of dependencies", minDependency); n > 0 {
		m.Dependencies = make([][32]byte, n)
		for i := range m.Dependencies {
			copy(m.Dependencies[i][:], d.bytes("dependency", 32))
		}
	}
	if n := d.count("number of references", minReference); n > 0 {
		m.References = make([]DataRef, n)
		for i := range m.References {
			m.References[i] = DataRef{d.name("variable"), d.name("pointer"),
				d.u64("target offset"), d.u64("patch offset"), d.bool("thread-local flag")}
		}
	}
}

// AppendBinary appends the metadata to b: in the form of the section .ulp if Path is empty, else in
// that for libpulp.so. It fails with a [symtab.FormatError], whose offset counts from the
// metadata's start, for what could not be read again: a build-id that has not 20 bytes, an empty
// name or one with a NUL.
func (m *Metadata) AppendBinary(b []byte) ([]byte, error) {
	e := encoder{b: b, start: len(b)}
	e.head(m, typePatch)
	e.name("target name", m.Target.Name)
	e.u32("number of functions", len(m.Functions))
	for _, f := range m.Functions {
		e.name("old function", f.Old)
		e.name("new function", f.New)
		e.u64(f.OldValue)
	}
	e.u32("number of dependencies", len(m.Dependencies))
	for _, id := range m.Dependencies {
		e.b = append(e.b, id[:]...)
	}
	e.u32("number of references", len(m.References))
	for _, r := range m.References {
		e.name("variable", r.Target)
		e.name("pointer", r.Reference)
		e.u64(r.TargetOffset)
		e.u64(r.PatchOffset)
		if r.TLS {
			e.b = append(e.b, 1)
		} else {
			e.b = append(e.b, 0)
		}
	}
	return e.done()
}

// AppendReverse appends the reverse metadata to b, in the form of the section .ulp.rev if Path is
// empty. It fails as [Metadata.AppendBinary] does.
func (m *Metadata) AppendReverse(b []byte) ([]byte, error) {
	e := encoder{b: b, start: len(b)}
	e.head(m, typeReverse)
	e.checkName("target name", m.Target.Name)
	e.u32("target name", len(m.Target.Name))
	e.b = append(e.b, m.Target.Name...) // the only name without a NUL
	return e.done()
}
