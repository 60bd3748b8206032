package native

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// A region is the memory that one change adds to a process for one library: the library's table if
// it has none yet, then the containers with their records, without a gap. Most of it is a single
// private mapping that can be read and executed. Only variables have a mapping of their own, which
// can be written. Constants are in the first kind: what cannot be written in there is an attacker's
// only as bytes to jump to, as the constants and headers of every library were before linkers put
// them into a segment of their own; and one mapping is one system call, one mapping of the
// process's limit, and one thing to find again.
//
// Anonymous memory has no name, and a file may be mapped by anybody. A region is found by what
// stands at its beginning:
//
//   - the table, or the record of the first container, when all the rest is there;
//   - before that a mark, with the size: an engine was killed while it wrote the contents;
//   - before that, zeros, as all of the region, and an address and a size that were chosen for it:
//     see signed and signedSize. It was killed between the system call and the first write. Where a
//     file is mapped, it is the pattern of the mappings in place of zeros: see pieceAt.
//
// The kernel joins anonymous mappings that touch. So a region may begin or end in the middle of a
// mapping, if the program has mapped memory of the same kind beside it: its beginning is looked for
// at signed addresses, too. Zeros that are joined with memory of the program are not known to be
// ours. They stay, and cost the process addresses only.
type region struct {
	base, size uint64    // in whole pages
	contents   []content // in their order, the first one at the beginning; all else is zeros
	writable   []extent  // in whole pages, in ascending order; neither the first page nor the last
	file       *File     // that it may be mapped from
	noFile     error     // why it must not be
}

// content is what is somewhere in a region, from a page's beginning on.
type content struct {
	off  uint64
	data []byte
}

// extent is a part of a region.
type extent struct{ off, size uint64 }

// inExtents reports whether an offset is in one of some parts.
func inExtents(list []extent, off uint64) bool {
	return slices.ContainsFunc(list, func(e extent) bool { return off-e.off < e.size })
}

// mapping is memory that is mapped, or was.
type mapping struct{ base, size uint64 }

func (m mapping) contains(addr uint64) bool { return addr-m.base < m.size }

func (rg *region) end() uint64 { return rg.base + rg.size }

// first returns the region's first page, as far as there is something in it.
func (rg *region) first() []byte {
	data := rg.contents[0].data
	return data[:min(len(data), pageSize)]
}

const (
	markMagic = "LPBREGN1"
	markSize  = 32 // no more than a record has at least: that takes its place
)

// mark is what stands at the region's beginning while its contents are written.
func (rg *region) mark() []byte {
	b := make([]byte, markSize)
	copy(b, markMagic)
	le.PutUint64(b[8:], rg.base)
	le.PutUint64(b[16:], rg.size)
	putSum(b[24:], b[:24])
	return b
}

// parseMark returns the size in a mark that stands at an address; ok is false if it is none.
func parseMark(b []byte, base uint64) (size uint64, ok bool) {
	size = le.Uint64(b[16:])
	ok = string(b[:8]) == markMagic && le.Uint32(b[24:]) == crc32.ChecksumIEEE(b[:24]) &&
		le.Uint64(b[8:]) == base &&
		size > 0 && size <= maxRegion && size%pageSize == 0
	return size, ok
}

// How large a region may be that was never finished, and one of which nothing was written, all of
// which is read.
const (
	maxRegion   = maxPatches * (maxSpan + maxAlign + 2*maxRecord)
	maxUnmarked = 16 << 20
)

// Of the addresses in a window of 64 MiB, one is signed: that where a region of ours begins, if
// there is room.
const (
	windowBits = 26
	signBits   = windowBits - 12
)

// signedIn returns the signed address of the window that an address is in.
func signedIn(at uint64) uint64 {
	window := at >> windowBits
	sign := window * 0x9e3779b97f4a7c15 >> (64 - signBits)
	return window<<windowBits | sign<<12
}

// signed returns the highest signed address up to at, and not below from; at itself, and false, if
// there is none.
func signed(from, at uint64) (uint64, bool) {
	for _, a := range []uint64{signedIn(at), signedIn(at - 1<<windowBits)} {
		if a >= from && a <= at {
			return a, true
		}
	}
	return at, false
}

// signedSize returns the least size from size on that a region at an address may have: one in
// sixteen. Zeros that only begin like a region are not taken for one, nor is one that the kernel
// has joined with memory of the program.
func signedSize(base, size uint64) uint64 {
	sign := base / pageSize * 0x9e3779b97f4a7c15 >> 60
	return size + (sign-size/pageSize)%signedSizes*pageSize
}

const signedSizes = 16

// maxStarts is how many addresses inside of mappings are looked at for beginnings of regions. Only
// a hostile process has more.
const maxStarts = 1 << 12

// starts returns where in a mapping a region may begin: at its beginning, and at signed addresses,
// of which most are looked at.
func starts(m rtld.Mapping, most int) []uint64 {
	list := []uint64{m.Start}
	for window := m.Start; window < m.End && len(list) <= most; window += 1 << windowBits {
		if at := signedIn(window); at > m.Start && at < m.End {
			list = append(list, at)
		}
	}
	if at := signedIn(m.End - 1); at > list[len(list)-1] && at < m.End && len(list) <= most {
		list = append(list, at)
	}
	return list
}

// isCode reports whether a mapping may be the one of a region: anonymous, private, and not
// writable.
func isCode(m rtld.Mapping) bool {
	return m.Perm == rtld.PermRead|rtld.PermExec && m.Path == "" && m.File == rtld.FileID{}
}

// isData reports whether a mapping may hold the variables of a region.
func isData(m rtld.Mapping) bool {
	return m.Perm == rtld.PermRead|rtld.PermWrite && m.Path == "" && m.File == rtld.FileID{}
}

// unmarked returns how large a region is that begins at a mapping, and of which nothing has been
// written; 0: it is none.
func unmarked(ctx context.Context, m memory, maps []rtld.Mapping) (uint64, error) {
	base, end := maps[0].Start, maps[0].Start
	switch {
	case signedIn(base) != base:
		return 0, nil
	case isFile(maps[0]):
		return unmarkedFile(ctx, m, maps)
	}
	code := end // after the last one that is code, as the last page of each region is
	for _, l := range maps {
		if l.Start != end || !isCode(l) && !isData(l) || l.End-base > maxUnmarked {
			break
		}
		if end = l.End; isCode(l) {
			code = end
		}
	}
	if signedSize(base, code-base) != code-base {
		return 0, nil
	}
	buf := make([]byte, readStep)
	for at := base; at < code; {
		b := buf[:min(code-at, readStep)]
		if _, err := m.ReadAt(ctx, b, at); errors.Is(err, process.ErrUnreadable) {
			return 0, nil
		} else if err != nil {
			return 0, err
		}
		if !zero(b) {
			return 0, nil
		}
		at += uint64(len(b))
	}
	return code - base, nil
}

func zero(b []byte) bool {
	var zeros [pageSize]byte
	for len(b) > 0 {
		n := min(len(b), pageSize)
		if !bytes.Equal(b[:n], zeros[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

// scan finds what is in memory that may be ours: tables and records of regions that are finished,
// one after the other, and regions that are not. start is where to begin, in mapping i; what comes
// next is at the address that it returns.
func (v *view) scan(ctx context.Context, st *state, i int, start uint64) (next uint64, err error) {
	m := v.maps[i]
	for at := start; ; {
		var head [markSize]byte
		if _, err := v.m.ReadAt(ctx, head[:], at); errors.Is(err, process.ErrUnreadable) {
			if at == m.Start && reserved(m, at) {
				size, err := unmarked(ctx, v.m, v.maps[i:])
				return st.unfinish(at, size), err
			}
			return at, nil
		} else if err != nil {
			return 0, err
		}
		size, err := v.readOne(ctx, st, head[:], at)
		if err != nil {
			return 0, err
		}
		if size == 0 && at == start && (isCode(m) || isFile(m)) {
			var ok bool
			if size, ok = parseMark(head[:], at); !ok || !v.ours(at, size) {
				size = 0
				if at == m.Start {
					size, err = unmarked(ctx, v.m, v.maps[i:])
				}
				if err != nil {
					return 0, err
				}
			}
			return st.unfinish(at, size), nil
		}
		if size == 0 {
			return at, nil
		}
		at += size
	}
}

// unfinish notes a region that was never finished, if there is one, and returns where it ends.
func (st *state) unfinish(at, size uint64) (end uint64) {
	if size > 0 {
		st.unfinished = append(st.unfinished, extent{at, size})
	}
	return at + size
}

// readOne reads a table or a record, and returns its size; 0: it is neither.
func (v *view) readOne(ctx context.Context, st *state, head []byte,
	at uint64) (size uint64, err error) {
	magic := string(head[:8])
	isTable, isRecord := magic == tableMagic, magic == recordMagic || magic == oldRecordMagic
	switch {
	case (isTable || isRecord) && len(st.tables)+len(st.records) >= 4*maxPatches:
		return 0, fmt.Errorf("mappings of lpbuild: %w", ErrLimit)
	case isTable:
		return tableSize, v.readTable(ctx, st, at)
	case isRecord:
		if err := v.readRecord(ctx, st, head, at); err != nil {
			return 0, err
		}
		return st.records[len(st.records)-1].Size, nil
	}
	return 0, nil
}
