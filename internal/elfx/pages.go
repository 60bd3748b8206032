package elfx

const pageSize = 4096

// Pages returns a segment as it is mapped: whole pages of the file, with zeros after its end, and
// the address that they begin at. It returns nothing if they would be more than most bytes, or
// cannot be mapped like this.
//
// Unlike the tables, pages are not charged to a budget: the caller says how many, and of how
// many segments.
func (f *File) Pages(p *Segment, most uint64) (addr uint64, pages []byte, err error) {
	const within = pageSize - 1
	if p.Filesz > most || p.Vaddr&within != p.Offset&within || p.Vaddr+p.Filesz < p.Vaddr {
		return 0, nil, nil
	}
	if err := f.within(p.Offset, p.Filesz, "segment"); err != nil {
		return 0, nil, err
	}
	off := p.Offset &^ within
	size := (p.Offset+p.Filesz+within)&^within - off
	have := min(size, f.size-off)
	if f.src == nil && have == size {
		return p.Vaddr &^ within, f.Image[off : off+size : off+size], nil
	}
	pages = make([]byte, size)
	if f.src == nil {
		copy(pages, f.Image[off:])
	} else if err := f.readAt(pages[:have], off, "segment"); err != nil {
		return 0, nil, err
	}
	return p.Vaddr &^ within, pages, nil
}
