package elfx

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"slices"
)

// NoString is the offset of a name that does not exist.
const NoString = ^uint32(0)

// MaxVersions is the number of symbol versions that a file may define and need. The format allows
// 32,765; glibc has 45.
const MaxVersions = 4096

const (
	versionMask   = 0x7fff // of a .gnu.version entry; the bit above says that the version is hidden
	versionHidden = 0x8000
	versionFirst  = 2 // 0 is local, 1 is global without a version
)

// Version is a symbol version that the file defines or needs. The offsets are in the strings of
// .dynsym; the names there have at most [MaxName] bytes.
type Version struct {
	Index   uint16 // by which .gnu.version refers to it
	NameOff uint32
	// SONAME of the library that has to define it; NoString if the file defines it itself
	FileOff uint32
}

// Versions are the symbol versions of a file. They do not refer to its bytes.
type Versions struct {
	bySymbol []byte
	List     []Version // definitions, then needs, as in the file
	Sorted   []Version // the same by index
}

// Of returns the version of row i of .dynsym, and whether it is the default one. ok is false if it
// has none.
func (v *Versions) Of(i int) (version Version, isDefault, ok bool) {
	if 2*i+2 > len(v.bySymbol) {
		return Version{}, false, false
	}
	raw := le.Uint16(v.bySymbol[2*i:])
	at := FindVersion(v.Sorted, raw&versionMask)
	if at == nil {
		return Version{}, false, false
	}
	return *at, raw&versionHidden == 0, true
}

// FindVersion returns the version of that index in a list that is sorted by index, nil if there is
// none.
func FindVersion(sorted []Version, index uint16) *Version {
	if len(sorted) == 0 {
		return nil
	}
	// Indexes mostly have no gaps.
	if guess := int(index) - int(sorted[0].Index); guess >= 0 && guess < len(sorted) &&
		sorted[guess].Index == index &&
		(guess == 0 || sorted[guess-1].Index != index) {
		return &sorted[guess]
	}
	at, ok := slices.BinarySearchFunc(sorted, index, func(v Version, index uint16) int {
		return cmp.Compare(v.Index, index)
	})
	if !ok {
		return nil
	}
	return &sorted[at]
}

// Versions reads .gnu.version, .gnu.version_d and .gnu.version_r, whose names are in the strings of
// .dynsym.
func (f *File) Versions(strs []byte) (*Versions, error) {
	v := new(Versions)
	s := f.ofType(elf.SHT_GNU_VERSYM)
	if s == nil {
		return v, nil
	}
	rows, err := f.records(s, 2, ".gnu.version")
	if err != nil {
		return nil, err
	}
	v.bySymbol = bytes.Clone(rows)
	r := versionReader{f: f, strs: strs}
	if err := r.section(elf.SHT_GNU_VERDEF, ".gnu.version_d", verdefSize, r.define); err != nil {
		return nil, err
	}
	if err := r.section(elf.SHT_GNU_VERNEED, ".gnu.version_r", verneedSize, r.need); err != nil {
		return nil, err
	}
	v.List = r.list
	v.Sorted = slices.Clone(r.list)
	slices.SortStableFunc(v.Sorted, func(a, b Version) int { return cmp.Compare(a.Index, b.Index) })
	return v, nil
}

var (
	errVersionLink  = errors.New("link leads outside the section")
	errVersionCount = errors.New("number of records is not the one that is announced")
)

// versionReader follows the linked records of the version sections.
type versionReader struct {
	f    *File
	strs []byte
	s    *Section
	what string
	data []byte
	list []Version
}

// section calls record for each record of the first section of type t, whose sh_info is the number
// of records.
func (r *versionReader) section(t elf.SectionType, what string, size int,
	record func(off int) error) error {
	if r.s, r.what = r.f.ofType(t), what; r.s == nil {
		return nil
	}
	if err := r.f.charge(r.s.Offset, r.s.Size, what); err != nil {
		return err
	}
	var err error
	if r.data, err = r.f.data(r.s, what); err != nil {
		return err
	}
	r.list = slices.Grow(r.list, min(len(r.data)/vernaux, MaxVersions))
	return r.follow(0, int(r.s.Info), size, record)
}

// follow calls record for count linked records of the given size, the first of them at off. The
// last field of a record is the distance to the next, 0 in the last one. Since a distance is at
// least a record, the section bounds the steps.
func (r *versionReader) follow(off, count, size int, record func(off int) error) error {
	for i := range count {
		if off > len(r.data)-size {
			return r.fail(off, errVersionLink)
		}
		if err := record(off); err != nil {
			return err
		}
		next := int(le.Uint32(r.data[off+size-4:]))
		switch last := i == count-1; {
		case last != (next == 0):
			return r.fail(off, errVersionCount)
		case !last && next < size:
			return r.fail(off, errVersionLink)
		}
		off += next
	}
	return nil
}

func (r *versionReader) fail(off int, err error) error {
	return fail(r.s.Offset+uint64(off), r.what, err)
}

// define reads a record of .gnu.version_d. Its first auxiliary record is its name, the others are
// its parents.
func (r *versionReader) define(off int) error {
	const isBase = 1 // the file's own name, not a version
	flags, index, aux := le.Uint16(r.data[off+2:]), le.Uint16(r.data[off+4:]),
		int(le.Uint32(r.data[off+12:]))
	if aux < verdefSize || aux > len(r.data)-veraux-off {
		return r.fail(off, errVersionLink)
	}
	if flags&isBase != 0 {
		return nil
	}
	return r.add(off+aux, index, le.Uint32(r.data[off+aux:]), NoString)
}

// need reads a record of .gnu.version_r: a file and the versions that are needed of it.
func (r *versionReader) need(off int) error {
	count, file, aux := int(le.Uint16(r.data[off+2:])), le.Uint32(r.data[off+4:]),
		int(le.Uint32(r.data[off+8:]))
	if err := checkName(r.strs, uint64(file)); err != nil {
		return r.fail(off, err)
	}
	if aux < verneedSize || aux > len(r.data)-off {
		return r.fail(off, errVersionLink)
	}
	return r.follow(off+aux, count, vernaux, func(off int) error {
		return r.add(off, le.Uint16(r.data[off+6:]), le.Uint32(r.data[off+8:]), file)
	})
}

// add notes a version. Records may share their auxiliary records, so that the section does not
// bound the sum.
func (r *versionReader) add(off int, index uint16, name, file uint32) error {
	if err := checkName(r.strs, uint64(name)); err != nil {
		return r.fail(off, err)
	}
	if index &= versionMask; index < versionFirst {
		return r.fail(off, errors.New("version index is reserved"))
	}
	if len(r.list) >= MaxVersions {
		return r.fail(off, errors.New("one version too many"))
	}
	r.list = append(r.list, Version{Index: index, NameOff: name, FileOff: file})
	return nil
}
