// Package rpmfile reads RPM packages that nothing vouches for yet.
//
// [Open] reads a package's headers, [RPM.Verify] decides whether to trust them, and [RPM.Find] and
// [RPM.Extract] take single files out of the package. Whatever the package contains, nothing
// panics, and sizes are bounded before use. Only the wanted regular files are written, under names
// that the package does not choose, and each of them is complete or absent.
//
// Headers are parsed by sassoftware/go-rpmutils, after a check of their tables that lets nothing
// through on which it panics or allocates without bound. This package reads the payload itself:
// that library's cpio reader allocates whatever length an entry's name claims and, to skip a file,
// the size of the file. RPM's package format is specified at
// https://rpm-software-management.github.io/rpm/manual/format_v4.html and format_v6.html.
package rpmfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/sassoftware/go-rpmutils"

	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/rpmver"
)

// FormatError means that a package is damaged or malicious.
type FormatError struct {
	Name string // of the package, as given by the caller
	What string // the part that is wrong
	Err  error
}

// Error returns "name: what: why".
func (e *FormatError) Error() string { return fmt.Sprintf("%s: %s: %v", e.Name, e.What, e.Err) }

// Unwrap returns why.
func (e *FormatError) Unwrap() error { return e.Err }

// errChanged means that a package differs from when it was opened.
var errChanged = errors.New("the file has changed since it was opened")

// RPM is a package whose headers were read. Do not trust them before [RPM.Verify]. It may be used
// by several goroutines.
type RPM struct {
	Name        string
	EVR         rpmver.EVR
	Arch        string
	SourceRPM   string // file name of the source package; empty in source packages
	BuildTime   time.Time
	Compressor  string // of the payload, in RPM's spelling: "zstd", "xz", …; "" if unspecified
	PayloadSize int64  // bytes of the compressed payload

	file    string // the package's name in messages
	source  source
	header  *rpmutils.RpmHeader
	general []byte // the general header as encoded in the file
	sigTags map[int32][]byte
	start   int64 // of the payload
	files   []entry
	byName  map[string]int // index in files
}

// source gives access to the package's bytes.
type source func() (io.ReaderAt, io.Closer, error)

// Open reads the headers of the package at path. It does not keep the file open, but the file must
// not change while the RPM is in use.
func Open(path string) (*RPM, error) {
	f, info, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := New(f, info.Size(), path)
	if err != nil {
		return nil, err
	}
	r.source = func() (io.ReaderAt, io.Closer, error) {
		again, now, err := openFile(path)
		if err != nil {
			return nil, nil, err
		}
		if !os.SameFile(info, now) || info.Size() != now.Size() ||
			!info.ModTime().Equal(now.ModTime()) {
			again.Close()
			return nil, nil, fmt.Errorf("%s: %w", path, errChanged)
		}
		return again, again, nil
	}
	return r, nil
}

// openFile opens a regular file. It does not block on a FIFO.
func openFile(path string) (*os.File, os.FileInfo, error) {
	f, info, err := regularfile.Open(path)
	if errors.Is(err, regularfile.ErrIrregular) {
		err = &FormatError{path, "package", errors.New("not a regular file")}
	}
	return f, info, err
}

// New reads the headers of the package in r, which has size bytes. name is the package's name in
// messages. Errors about the package are a [*FormatError].
func New(r io.ReaderAt, size int64, name string) (rpm *RPM, err error) {
	defer func() {
		if p := recover(); p != nil {
			rpm, err = nil, &FormatError{name, "header", fmt.Errorf("the RPM library panicked: %v",
				p)}
		}
	}()
	h, err := readHeaders(r, size)
	if err != nil {
		return nil, formatError(name, "header", err)
	}
	rpm = &RPM{
		file: name, header: h.parsed, general: h.general, sigTags: h.sigTags, start: h.end,
		PayloadSize: size - h.end,
		source:      func() (io.ReaderAt, io.Closer, error) { return r, io.NopCloser(nil), nil },
	}
	if err := rpm.readIdentity(); err != nil {
		return nil, formatError(name, "header", err)
	}
	if rpm.files, err = readFiles(h.parsed); err != nil {
		return nil, formatError(name, "file list", err)
	}
	rpm.byName = make(map[string]int, len(rpm.files))
	for i, f := range rpm.files {
		rpm.byName[f.Name] = i
	}
	return rpm, nil
}

// formatError makes err a FormatError, unless it is a read error of the system.
func formatError(name, what string, err error) error {
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		return fmt.Errorf("%s: %w", name, err)
	}
	return &FormatError{name, what, err}
}

// readIdentity copies the package's name, and when and how it was built.
func (r *RPM) readIdentity() error {
	version, err := r.text(rpmutils.VERSION)
	if err != nil {
		return err
	}
	release, err := r.text(rpmutils.RELEASE)
	if err != nil {
		return err
	}
	epoch, err := r.number(rpmutils.EPOCH)
	if err != nil {
		return err
	}
	if r.EVR, err = rpmver.Parse(fmt.Sprintf("%d:%s-%s", epoch, version, release)); err != nil {
		return err
	}
	if r.Name, err = r.word(rpmutils.NAME); err != nil {
		return err
	}
	if r.Arch, err = r.word(rpmutils.ARCH); err != nil {
		return err
	}
	built, err := r.number(rpmutils.BUILDTIME)
	if err != nil {
		return err
	}
	r.BuildTime = time.Unix(int64(built), 0).UTC()
	if r.SourceRPM, err = r.optional(rpmutils.SOURCERPM); err != nil {
		return err
	}
	if r.Compressor, err = r.optional(rpmutils.PAYLOADCOMPRESSOR); err != nil {
		return err
	}
	format, err := r.optional(rpmutils.PAYLOADFORMAT)
	if err == nil && format != "" && format != "cpio" {
		err = fmt.Errorf("payload format %.40q: %w", format, errors.ErrUnsupported)
	}
	return err
}

// NEVRA returns name-[epoch:]version-release.arch, without an epoch of 0.
func (r *RPM) NEVRA() string { return r.Name + "-" + r.EVR.String() + "." + r.Arch }

// word returns a tag's text, which must be valid in RPM's names and architectures.
func (r *RPM) word(tag int) (string, error) {
	s, err := r.text(tag)
	if err != nil {
		return "", err
	}
	const longest = 255
	if s == "" || len(s) > longest || strings.ContainsFunc(s, foreign) ||
		strings.HasPrefix(s, ".") {
		return "", fmt.Errorf("tag %d is %.80q, which is not a valid name", tag, s)
	}
	return s, nil
}

// foreign reports whether RPM forbids c in names.
func foreign(c rune) bool {
	switch {
	case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		return false
	}
	return !strings.ContainsRune("._+-~^", c)
}

// text returns the value of a tag that has one text.
func (r *RPM) text(tag int) (string, error) {
	if !r.header.HasTag(tag) {
		return "", fmt.Errorf("tag %d is missing", tag)
	}
	return r.header.GetString(tag)
}

// optional returns the value of a tag that has one text, or "".
func (r *RPM) optional(tag int) (string, error) {
	if !r.header.HasTag(tag) {
		return "", nil
	}
	return r.text(tag)
}

// number returns the value of a tag that has one number, or 0.
func (r *RPM) number(tag int) (uint32, error) {
	if !r.header.HasTag(tag) {
		return 0, nil
	}
	values, err := r.header.GetUint32s(tag)
	if err != nil {
		return 0, err
	}
	if len(values) != 1 {
		return 0, fmt.Errorf("tag %d has %d values", tag, len(values))
	}
	return values[0], nil
}
