package ulp

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/lpbuild/lpbuild/pkg/ulp/internal/elfx"
)

// catalogueTable is a table of symbols that a catalogueParser fills.
type catalogueTable struct {
	rows     []row
	strs     strings.Builder   // names and versions, each ended by NUL
	versions map[string]uint16 // those in strs, by name: the index in the list
	list     []elfx.Version
	last     string // the version that was asked for last, and its index: neighbours mostly have the same
	index    uint16
}

func newCatalogueTable() *catalogueTable {
	return &catalogueTable{versions: make(map[string]uint16)}
}

// grow makes room for the symbols in text. Every symbol begins with a brace, so that their count is a bound for the rows.
func (t *catalogueTable) grow(text []byte) {
	t.rows = make([]row, 0, min(bytes.Count(text, []byte("{")), len(text)/minSymbol))
	t.strs.Grow(len(text) / 5) // as much as names are of a catalogue
}

func (t *catalogueTable) table() table {
	return table{rows: t.rows, strs: t.strs.String(), versions: t.list}
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
		t.list = append(t.list, elfx.Version{Index: index, NameOff: t.keep(b), FileOff: elfx.NoString})
	}
	off := t.list[index-1].NameOff
	t.last, t.index = t.strs.String()[off:int(off)+len(b)], index
	return index, nil
}

// ahead reads the second half of the symbols of a catalogue while the first half is being read. It guesses that a symbol
// begins at start, and reads symbols as long as they are in the very form that we write. Whoever comes to start, and finds
// that an element of the array begins there indeed, has the symbols from there to end without reading them.
type ahead struct {
	start, end int
	t          *catalogueTable
	done       chan struct{}
	stopped    atomic.Bool
}

// minAhead is the size of a catalogue, in bytes, from which on a second goroutine is worth its while.
const minAhead = 128 << 10

// readAhead starts reading ahead, unless there is too little to be won: then the result is nil.
func (p *catalogueParser) readAhead() *ahead {
	middle := p.pos + (len(p.data)-p.pos)/2
	i := bytes.Index(p.data[middle:], []byte(",\n{"))
	if len(p.data)-p.pos < minAhead || i < 0 || runtime.GOMAXPROCS(0) < 2 {
		return nil
	}
	a := &ahead{start: middle + i + 1, t: newCatalogueTable(), done: make(chan struct{})}
	go a.read(p.data)
	return a
}

func (a *ahead) read(data []byte) {
	defer close(a.done)
	a.t.grow(data[a.start:])
	q := catalogueParser{scanner: scanner{data: data, pos: a.start}, t: a.t}
	for !a.stopped.Load() {
		r, ok := q.symbolLine()
		if !ok {
			return
		}
		a.t.rows, a.end = append(a.t.rows, r), q.pos
		if q.pos == len(data) || data[q.pos] != ',' {
			return
		}
		q.pos++
	}
}

// stop ends the reading. The catalogue's bytes are not used after that.
func (a *ahead) stop() {
	if a != nil {
		a.stopped.Store(true)
		<-a.done
	}
}

// adopt takes what was read ahead of the position, and goes on behind it with the table into which it was read. It returns
// false if there is nothing to take.
func (p *catalogueParser) adopt(a *ahead) bool {
	<-a.done
	if len(a.t.rows) == 0 || len(a.t.versions)+len(p.t.versions) > elfx.MaxVersions {
		return false
	}
	p.l.symbols.tables = append(p.l.symbols.tables, p.t.table())
	p.t, p.pos = a.t, a.end
	return true
}
