// Package elfx reads untrusted 64-bit little-endian ELF files.
//
// A [File] is a view of an image in memory ([Parse]), or of a file of which only the parts that are
// wanted are read ([Open]). Both check the header, the section table and that every section lies in
// the image; everything else is read when it is asked for, and checked then. No length in the image
// makes the package read outside it, and none makes it allocate more than a small multiple of it:
// the tables that are decoded are charged to a budget of the image's own size, so that hostile
// tables which all cover the same bytes run out of it. For the same reason each table is to be
// asked for once.
//
// It is not a general ELF library: it knows what live patching needs, and it does not know 32-bit
// files, big-endian files, relocatable objects and files with 65,280 sections or more
// ([ErrUnsupported]).
package elfx

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Sizes of the records of ELF64 files, in bytes.
const (
	HeaderSize  = 64
	SectionSize = 64
	segmentSize = 56
	SymbolSize  = 24
	relaSize    = 24
	dynSize     = 16
	verdefSize  = 20
	verneedSize = 16
	veraux      = 8 // of a version definition
	vernaux     = 16
)

// maxImage bounds the images that are accepted: offsets into any table then fit 32 bits.
const maxImage = 1 << 31

// ErrUnsupported means that the image is ELF, but of a kind that the package does not read.
var ErrUnsupported = errors.New("unsupported")

var (
	errBounds  = fmt.Errorf("lies outside the file: %w", io.ErrUnexpectedEOF)
	errOverlap = errors.New("tables overlap: together they are larger than the file")
	errEntsize = errors.New("wrong size of the entries")
)

// Error tells where an image breaks the rules.
type Error struct {
	Off  int64  // offset in the image
	What string // the structure at Off
	Err  error  // what is wrong with it
}

// Error returns "WHAT at OFFSET: REASON".
func (e *Error) Error() string { return fmt.Sprintf("%s at %#x: %v", e.What, e.Off, e.Err) }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

func fail(off uint64, what string, err error) error {
	return &Error{Off: int64(off), What: what, Err: err}
}

var le = binary.LittleEndian

// File is a view of an ELF image. It is for one goroutine at a time.
type File struct {
	Image    []byte // as given to Parse; never changed. Nil after Open
	Type     elf.Type
	Machine  elf.Machine
	Sections []Section // the section table, with the null section at index 0
	Segments []Segment // the program header table
	Shoff    uint64    // offset of the section table
	Shstrndx int       // index of the section names' section
	names    []byte    // its bytes
	budget   uint64    // bytes of the image that decoding may still be charged for

	size   uint64      // of the image
	header []byte      // its first HeaderSize bytes
	src    io.ReaderAt // where the image is if Image is nil
	unread uint64      // bytes that may still be read from there
	read   map[*Section][]byte
}

// Size returns the size of the image, in bytes.
func (f *File) Size() int { return int(f.size) }

// Entry returns the address at which a program begins, 0 if there is none.
func (f *File) Entry() uint64 { return le.Uint64(f.header[24:]) }

// Parse reads the header, the section table and the program header table. Errors are *[Error];
// those about kinds of files that are not read wrap [ErrUnsupported].
func Parse(image []byte) (*File, error) {
	return parse(&File{Image: image, size: uint64(len(image))})
}

// Open is Parse for an image of the given size in a file. Its parts are read once, so that a file
// which somebody changes meanwhile gives an error or some mixture of both contents, and never less
// checks. The file must stay open as long as something is asked of the result; what was returned
// does not need it.
func Open(src io.ReaderAt, size int64) (*File, error) {
	return parse(&File{src: src, size: uint64(size), unread: uint64(size),
		read: make(map[*Section][]byte)})
}

func parse(f *File) (*File, error) {
	if f.size < HeaderSize {
		return nil, fail(f.size, "ELF header", io.ErrUnexpectedEOF)
	}
	f.budget = f.size
	var err error
	if f.header, err = f.load(0, HeaderSize, "ELF header"); err != nil {
		return nil, err
	}
	if err := checkIdent(f.header, f.size); err != nil {
		return nil, err
	}
	f.Type, f.Machine = elf.Type(le.Uint16(f.header[16:])), elf.Machine(le.Uint16(f.header[18:]))
	if f.Type != elf.ET_DYN && f.Type != elf.ET_EXEC {
		return nil, fail(16, "ELF header: file type", fmt.Errorf("%w: %v, want a shared object",
			ErrUnsupported, f.Type))
	}
	if err := f.parseSegments(); err != nil {
		return nil, err
	}
	if err := f.parseSections(); err != nil {
		return nil, err
	}
	return f, nil
}

func checkIdent(image []byte, size uint64) error {
	switch {
	case string(image[:4]) != elf.ELFMAG:
		return fail(0, "ELF header", errors.New("not an ELF file"))
	case image[elf.EI_CLASS] != byte(elf.ELFCLASS64):
		return fail(elf.EI_CLASS, "ELF header: class", fmt.Errorf("%w: not 64-bit", ErrUnsupported))
	case image[elf.EI_DATA] != byte(elf.ELFDATA2LSB):
		return fail(elf.EI_DATA, "ELF header: byte order", fmt.Errorf("%w: not little-endian",
			ErrUnsupported))
	case image[elf.EI_VERSION] != byte(elf.EV_CURRENT) ||
		le.Uint32(image[20:]) != uint32(elf.EV_CURRENT):
		return fail(elf.EI_VERSION, "ELF header: version",
			fmt.Errorf("%w: not version 1", ErrUnsupported))
	case size > maxImage:
		return fail(0, "ELF file", fmt.Errorf("%w: larger than 2 GiB", ErrUnsupported))
	}
	return nil
}

// charge takes n bytes from the budget.
func (f *File) charge(off, n uint64, what string) error {
	if n > f.budget {
		return fail(off, what, errOverlap)
	}
	f.budget -= n
	return nil
}

// within returns an error unless the image has n bytes at off.
func (f *File) within(off, n uint64, what string) error {
	if off > f.size || n > f.size-off {
		return fail(off, what, errBounds)
	}
	return nil
}

// load returns n bytes at off. Their capacity ends with them. Of a file no more is read than it
// has, so that parts which overlap do not add up.
func (f *File) load(off, n uint64, what string) ([]byte, error) {
	if err := f.within(off, n, what); err != nil {
		return nil, err
	}
	if f.src == nil {
		return f.Image[off : off+n : off+n], nil
	}
	if n > f.unread {
		return nil, fail(off, what, errOverlap)
	}
	f.unread -= n
	b := make([]byte, n)
	return b, f.readAt(b, off, what)
}

func (f *File) readAt(b []byte, off uint64, what string) error {
	n, err := f.src.ReadAt(b, int64(off))
	switch {
	case n == len(b): // what the error says is not about these bytes
		return nil
	case err == nil || errors.Is(err, io.EOF):
		err = fmt.Errorf("the file became shorter: %w", io.ErrUnexpectedEOF)
	}
	return fail(off, what, err)
}

// table returns count entries of the given size at off, charged to the budget.
func (f *File) table(off, count, size uint64, what string) ([]byte, error) {
	if count > f.size/size {
		return nil, fail(off, what, errBounds)
	}
	if err := f.charge(off, count*size, what); err != nil {
		return nil, err
	}
	return f.load(off, count*size, what)
}
