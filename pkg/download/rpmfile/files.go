package rpmfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/sassoftware/go-rpmutils"
)

// Bounds of the file list.
const (
	maxFiles     = 1 << 20
	maxPath      = 4096     // bytes of one name, as in Linux
	maxPathBytes = 64 << 20 // of all names: a package can give many files one long directory
)

// Bits of a Unix mode.
const (
	unixType   = 0o170000
	unixReg    = 0o100000
	unixDir    = 0o040000
	unixLink   = 0o120000
	unixChar   = 0o020000
	unixBlock  = 0o060000
	unixFIFO   = 0o010000
	unixSocket = 0o140000
)

// File is a file that a package installs.
type File struct {
	Name    string // absolute and clean: "/lib64/libc.so.6"
	Size    int64
	Mode    fs.FileMode
	Link    string // a symbolic link's target, as in the package
	ModTime time.Time
}

// entry is a file with details that only this package needs.
type entry struct {
	File
	ghost  bool   // in the list, but not in the payload
	digest string // SHA-256 of the content in hexadecimal, if the header has it
	inode  uint64 // equal for hard links to one file
}

// Files returns the files that the package installs, in its own order, without those that it merely
// claims (%ghost).
func (r *RPM) Files() []File {
	files := make([]File, 0, len(r.files))
	for _, f := range r.files {
		if !f.ghost {
			files = append(files, f.File)
		}
	}
	return files
}

// readFiles assembles the file list, which the header has as one array for each property.
func readFiles(h *rpmutils.RpmHeader) ([]entry, error) {
	names, err := readNames(h)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	sizeTag := rpmutils.FILESIZES
	if h.HasTag(rpmutils.LONGFILESIZES) {
		sizeTag = rpmutils.LONGFILESIZES
	}
	c := columns{h: h, n: len(names)}
	sizes, modes, times := c.uint64s(sizeTag), c.uint32s(rpmutils.FILEMODES),
		c.uint32s(rpmutils.FILEMTIMES)
	links, flags := c.strings(rpmutils.FILELINKTOS), c.uint32s(rpmutils.FILEFLAGS)
	digests, inodes, devices := c.strings(rpmutils.FILEDIGESTS), c.uint32s(rpmutils.FILEINODES),
		c.uint32s(rpmutils.FILEDEVICES)
	if c.err != nil {
		return nil, c.err
	}
	algorithm, err := digestAlgorithm(h)
	if err != nil {
		return nil, err
	}
	files := make([]entry, len(names))
	for i := range files {
		if int64(sizes[i]) < 0 {
			return nil, fmt.Errorf("%q has %d bytes", names[i], sizes[i])
		}
		files[i] = entry{
			File: File{
				Name: names[i], Size: int64(sizes[i]), Mode: fileMode(modes[i]), Link: links[i],
				ModTime: time.Unix(int64(times[i]), 0).UTC(),
			},
			ghost: flags[i]&rpmutils.RPMFILE_GHOST != 0,
			inode: uint64(devices[i])<<32 | uint64(inodes[i]),
		}
		if algorithm == rpmutils.HASH_SHA256 {
			files[i].digest = digests[i]
		}
	}
	return files, nil
}

// digestAlgorithm returns the algorithm of the files' digests.
func digestAlgorithm(h *rpmutils.RpmHeader) (uint32, error) {
	if !h.HasTag(rpmutils.FILEDIGESTALGO) {
		return rpmutils.HASH_MD5, nil
	}
	values, err := h.GetUint32s(rpmutils.FILEDIGESTALGO)
	if err != nil || len(values) != 1 {
		return 0, errors.Join(errors.New("digest algorithm"), err)
	}
	return values[0], nil
}

// readNames returns the files' names, absolute and clean. go-rpmutils would join them without a
// bound.
func readNames(h *rpmutils.RpmHeader) ([]string, error) {
	if !h.HasTag(rpmutils.BASENAMES) {
		if h.HasTag(rpmutils.OLDFILENAMES) {
			return nil, fmt.Errorf("the list has the format of RPM 3: %w", errors.ErrUnsupported)
		}
		return nil, nil // a package without files
	}
	bases, err := h.GetStrings(rpmutils.BASENAMES)
	if err != nil {
		return nil, err
	}
	if len(bases) > maxFiles {
		return nil, fmt.Errorf("%d files exceed the limit of %d", len(bases), maxFiles)
	}
	dirs, err := h.GetStrings(rpmutils.DIRNAMES)
	if err != nil {
		return nil, err
	}
	c := columns{h: h, n: len(bases)}
	indexes := c.uint32s(rpmutils.DIRINDEXES)
	if c.err != nil {
		return nil, c.err
	}
	names, total := make([]string, len(bases)), 0
	for i, base := range bases {
		if int64(indexes[i]) >= int64(len(dirs)) {
			return nil, fmt.Errorf("%.80q is in directory %d of %d", base, indexes[i], len(dirs))
		}
		dir := dirs[indexes[i]]
		if total += len(dir) + len(base); len(dir)+len(base) > maxPath || total > maxPathBytes {
			return nil, fmt.Errorf("%.80q: names are too long", base)
		}
		if names[i], err = cleanName(dir, base); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// cleanName joins a directory and a base name. No package that RPM builds has ".." in either.
func cleanName(dir, base string) (string, error) {
	if strings.Contains(base, "/") || hasDotDot(dir) || base == ".." {
		return "", fmt.Errorf("%.80q in directory %.80q leads out of the package", base, dir)
	}
	return path.Join("/", dir, base), nil
}

// hasDotDot reports whether one of name's elements is "..".
func hasDotDot(name string) bool {
	for element := range strings.SplitSeq(name, "/") {
		if element == ".." {
			return true
		}
	}
	return false
}

// columns reads arrays that have one value for each file. It keeps the first error.
type columns struct {
	h   *rpmutils.RpmHeader
	n   int
	err error
}

func column[T any](c *columns, tag int, get func(int) ([]T, error)) []T {
	if c.err != nil {
		return nil
	}
	if !c.h.HasTag(tag) && (tag == rpmutils.FILEINODES || tag == rpmutils.FILEDEVICES) {
		return make([]T, c.n) // some tools' debuginfo, and arrays that RPM itself can do without
	}
	values, err := get(tag)
	switch {
	case err != nil:
		c.err = fmt.Errorf("tag %d: %w", tag, err)
	case len(values) != c.n:
		c.err = fmt.Errorf("tag %d has %d values for %d files", tag, len(values), c.n)
	}
	return values
}

func (c *columns) uint32s(tag int) []uint32 { return column(c, tag, c.h.GetUint32s) }
func (c *columns) uint64s(tag int) []uint64 { return column(c, tag, c.h.GetUint64s) }
func (c *columns) strings(tag int) []string { return column(c, tag, c.h.GetStrings) }

// fileMode converts a Unix mode to Go's.
func fileMode(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	for bit, goBit := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid,
		0o1000: fs.ModeSticky} {
		if mode&bit != 0 {
			m |= goBit
		}
	}
	switch mode & unixType {
	case unixReg:
	case unixDir:
		m |= fs.ModeDir
	case unixLink:
		m |= fs.ModeSymlink
	case unixChar:
		m |= fs.ModeDevice | fs.ModeCharDevice
	case unixBlock:
		m |= fs.ModeDevice
	case unixFIFO:
		m |= fs.ModeNamedPipe
	case unixSocket:
		m |= fs.ModeSocket
	default:
		m |= fs.ModeIrregular
	}
	return m
}
