package ulp

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lpbuild/lpbuild/internal/hotpatch"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Proven is what the packer of a container has proven of its target, by the rules of this version
// of package hotpatch, so that the engine need not search the whole library again in each run.
type Proven struct {
	Checksum  uint32   // of the target's file, by elfx.Checksum
	Functions []uint64 // at which a jump is proven to be safe: their addresses as linked, ascending
}

// Has reports whether a function, by its address as linked, is proven. A nil p has none.
func (p *Proven) Has(addr uint64) bool {
	if p == nil {
		return false
	}
	_, found := slices.BinarySearch(p.Functions, addr)
	return found
}

// The section has a line of text with the version of the rules and the checksum, and a line for
// each function. All numbers but the version are in hex.

// maxProven bounds how many functions a section names.
const maxProven = 1 << 16

// provenSection returns the section SectionProven for the functions of a live patch; nil if none is
// proven.
func provenSection(m *Metadata, lib *symtab.Library) []byte {
	var list []uint64
	for _, f := range m.Functions {
		if lib.IsProven(f.OldValue) {
			list = append(list, f.OldValue)
		}
	}
	if len(list) == 0 {
		return nil
	}
	slices.Sort(list)
	b := fmt.Appendf(nil, "%d %x", hotpatch.Version, lib.Checksum())
	for _, addr := range slices.Compact(list) {
		b = strconv.AppendUint(append(b, '\n'), addr, 16)
	}
	return append(b, '\n')
}

// parseProven reads a section SectionProven. It returns nil for an empty section and for proofs
// that were made by other rules.
func parseProven(data []byte) (*Proven, error) {
	if len(data) == 0 {
		return nil, nil
	}
	head, rest, ok := bytes.Cut(data, []byte{'\n'})
	version, hex, _ := strings.Cut(string(head), " ")
	_, versionErr := strconv.ParseUint(version, 10, 32)
	sum, sumErr := strconv.ParseUint(hex, 16, 32)
	if !ok || versionErr != nil || sumErr != nil {
		return nil, &symtab.FormatError{What: "version of the proofs",
			Err: errors.New("no line with two numbers")}
	}
	var list []uint64
	for len(rest) > 0 {
		var line []byte
		off := int64(len(data) - len(rest))
		line, rest, ok = bytes.Cut(rest, []byte{'\n'})
		addr, err := strconv.ParseUint(string(line), 16, 64)
		switch {
		case !ok || err != nil:
			return nil, &symtab.FormatError{Off: off, What: "address of a function",
				Err: errors.New("no number on a line of its own")}
		case len(list) > 0 && list[len(list)-1] >= addr:
			return nil, &symtab.FormatError{Off: off, What: "address of a function",
				Err: errors.New("is not in ascending order")}
		case len(list) == maxProven:
			return nil, &symtab.FormatError{Off: off, What: fmt.Sprintf("more than %d functions",
				maxProven), Err: ErrValue}
		}
		list = append(list, addr)
	}
	if version != strconv.Itoa(hotpatch.Version) {
		return nil, nil
	}
	return &Proven{Checksum: uint32(sum), Functions: list}, nil
}
