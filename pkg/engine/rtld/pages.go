package rtld

import "sync"

// Pages is a reader that keeps the last pages it read, for one walk through a table: what rows,
// names and versions of neighbours need lies in a few pages, and each read from a process is a
// system call. It reads nothing that its own reader would not, and is thrown away with the walk, so
// that nobody sees what is not there any more.
type Pages struct {
	r    Reader
	kept [4]page
}

type page struct {
	addr  uint64
	whole bool
	b     []byte
}

// NewPages returns a Pages of which nothing has been read yet. Done is to be called when the walk
// is over.
func NewPages(r Reader) *Pages {
	p := usedPages.Get().(*Pages)
	p.r = r
	for i := range p.kept {
		p.kept[i].whole = false
	}
	return p
}

// Done gives the memory back to the next walk.
func (p *Pages) Done() {
	p.r = nil
	usedPages.Put(p)
}

var usedPages = sync.Pool{New: func() any { return new(Pages) }}

// ReadAt reads len(b) bytes at an address, as the reader below does.
func (p *Pages) ReadAt(b []byte, addr uint64) (int, error) {
	start := pageDown(addr)
	if addr+uint64(len(b)) > start+pageSize || addr+uint64(len(b)) < addr {
		return p.r.ReadAt(b, addr) // over the end of a page, or more than one
	}
	k := &p.kept[start/pageSize%uint64(len(p.kept))]
	if !k.whole || k.addr != start {
		if k.b == nil {
			k.b = make([]byte, pageSize)
		}
		k.addr, k.whole = start, false
		if _, err := p.r.ReadAt(k.b, start); err != nil {
			return p.r.ReadAt(b, addr) // the bytes that are wanted may be there
		}
		k.whole = true
	}
	return copy(b, k.b[addr-start:]), nil
}
