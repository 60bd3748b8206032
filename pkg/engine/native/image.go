package native

import (
	"debug/elf"
	"encoding/binary"
	"fmt"

	"github.com/lpbuild/lpbuild/internal/elfx"
)

var le = binary.LittleEndian

const pageSize = 4096

func pageDown(a uint64) uint64 { return a &^ (pageSize - 1) }
func pageUp(a uint64) uint64   { return pageDown(a + pageSize - 1) }

// maxSpan bounds what a container occupies in memory, maxAlign how its address 0 may have to be
// aligned.
const (
	maxSpan  = 64 << 20
	maxAlign = 2 << 20
)

// image is a container as it will be in memory, at address 0: what all processes have in common.
type image struct {
	mem    []byte // whole pages
	align  uint64 // of address 0: a page or more
	ranges []permRange
}

// permRange is a part of the image, in whole pages, with the permission it has after relocation.
type permRange struct {
	start, end uint64
	flags      elf.ProgFlag
}

// readImage lays the file's segments out in memory. As the dynamic loader, it takes nothing but the
// program headers.
func readImage(f *elfx.File) (*image, error) {
	if err := f.CheckSegments(); err != nil {
		return nil, err
	}
	var end, lastWritable uint64
	for _, s := range f.Segments {
		if s.Type != elf.PT_LOAD {
			continue
		}
		if s.Vaddr > maxSpan || s.Memsz > maxSpan-s.Vaddr || s.Filesz > s.Memsz {
			return nil, fmt.Errorf("%w: segment at %#x of %#x bytes: %w", ErrContainer, s.Vaddr,
				s.Memsz, ErrLimit)
		}
		end = max(end, pageUp(s.Vaddr+s.Memsz))
		if s.Flags&elf.PF_W != 0 {
			lastWritable = max(lastWritable, pageUp(s.Vaddr+s.Memsz))
		}
	}
	if end == 0 {
		return nil, fmt.Errorf("%w: nothing to load", ErrContainer)
	}
	if lastWritable == end {
		// so that what can be written does not become one with the process's own memory: see region
		end += pageSize
	}
	im := &image{mem: make([]byte, end), align: pageSize}
	for _, s := range f.Sections {
		// those of segments are what the linker takes a page for, 2 MiB some years ago
		if s.Flags&elf.SHF_ALLOC != 0 && s.Align > im.align {
			im.align = s.Align
		}
	}
	if im.align > maxAlign || im.align&(im.align-1) != 0 {
		return nil, fmt.Errorf("%w: alignment to %#x bytes: %w", ErrContainer, im.align, ErrLimit)
	}
	flags := make([]elf.ProgFlag, end/pageSize)
	for _, s := range f.Segments {
		if s.Type != elf.PT_LOAD {
			continue
		}
		copy(im.mem[s.Vaddr:], f.Image[s.Offset:s.Offset+s.Filesz])
		for p := s.Vaddr / pageSize; p < pageUp(s.Vaddr+s.Memsz)/pageSize; p++ {
			flags[p] |= s.Flags
		}
	}
	for p, fl := range flags {
		if fl&elf.PF_W != 0 && fl&elf.PF_X != 0 {
			return nil, fmt.Errorf("%w: memory at %#x is both writable and executable",
				ErrContainer, p*pageSize)
		}
	}
	im.setRanges(f, flags)
	return im, nil
}

// setRanges joins pages of one permission, those of RELRO being read-only from the beginning:
// nothing is relocated later.
func (im *image) setRanges(f *elfx.File, flags []elf.ProgFlag) {
	if r := f.Segment(elf.PT_GNU_RELRO); r != nil && r.Memsz <= maxSpan && r.Vaddr <= maxSpan {
		for p := r.Vaddr / pageSize; p < (r.Vaddr+r.Memsz)/pageSize && p < uint64(len(flags)); p++ {
			flags[p] &^= elf.PF_W
		}
	}
	for p, fl := range flags {
		at := uint64(p) * pageSize
		if n := len(im.ranges); n > 0 && im.ranges[n-1].flags == fl {
			im.ranges[n-1].end = at + pageSize
			continue
		}
		im.ranges = append(im.ranges, permRange{at, at + pageSize, fl})
	}
}

// code reports whether size bytes at an address are code.
func (im *image) code(addr, size uint64) bool {
	for _, r := range im.ranges {
		if addr >= r.start && addr < r.end && size <= r.end-addr {
			return r.flags&elf.PF_X != 0
		}
	}
	return false
}

// bytes returns size bytes at an address; nil if they are not all there.
func (im *image) bytes(addr, size uint64) []byte {
	if addr > uint64(len(im.mem)) || size > uint64(len(im.mem))-addr {
		return nil
	}
	return im.mem[addr : addr+size]
}
