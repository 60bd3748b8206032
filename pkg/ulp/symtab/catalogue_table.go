package symtab

import (
	"bytes"
	"errors"
	"strings"

	"github.com/lpbuild/lpbuild/internal/elfx"
)

// catalogueTable is a table of symbols that a catalogueParser fills.
type catalogueTable struct {
	rows     []row
	strs     strings.Builder   // names and versions, each ended by NUL
	versions map[string]uint16 // those in strs, by name: the index in the list
	list     []elfx.Version
	// the version that was asked for last, and its index: neighbours mostly have the same
	last  string
	index uint16
}

func newCatalogueTable() *catalogueTable {
	return &catalogueTable{versions: make(map[string]uint16)}
}

// What a symbol is of a catalogue, in bytes, and which part of it are names: less than in those of
// real libraries, so that room is made once and little of it is wasted.
const (
	symbolText = 104
	namesPart  = 5
)

// grow makes room for the symbols in text.
func (t *catalogueTable) grow(text []byte) {
	t.rows = make([]row, 0, len(text)/symbolText)
	t.strs.Grow(len(text) / namesPart)
}

func (t *catalogueTable) table() table {
	return table{rows: t.rows, strs: t.strs.String(), versions: t.list}
}

// add adds a row.
func (t *catalogueTable) add() *row {
	t.rows = append(t.rows, row{})
	return &t.rows[len(t.rows)-1]
}

// keep adds a string to strs.
func (t *catalogueTable) keep(b []byte) (off uint32) {
	off = uint32(t.strs.Len())
	t.strs.Write(b)
	t.strs.WriteByte(0)
	return off
}

// version returns the index of a version. Each one is kept once.
func (t *catalogueTable) version(b []byte) (uint16, error) {
	if t.index != 0 && string(b) == t.last {
		return t.index, nil
	}
	if len(b) == 0 || len(b) > elfx.MaxName || bytes.IndexByte(b, 0) >= 0 {
		return 0, errName
	}
	index, ok := t.versions[string(b)]
	if !ok {
		if len(t.versions) >= elfx.MaxVersions {
			return 0, errors.New("is one version too many")
		}
		index = uint16(len(t.versions) + 1)
		t.versions[string(b)] = index
		t.list = append(t.list, elfx.Version{Index: index, NameOff: t.keep(b),
			FileOff: elfx.NoString})
	}
	off := t.list[index-1].NameOff
	t.last, t.index = t.strs.String()[off:int(off)+len(b)], index
	return index, nil
}
