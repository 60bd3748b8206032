package rpmfile

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/lpbuild/lpbuild/pkg/download/decompress"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
)

// Bounds of what Extract reads and writes unless its options say otherwise.
const (
	defaultMaxFile  = 2 << 30
	defaultMaxTotal = 8 << 30
	maxPayload      = 256 << 30 // uncompressed; the header's list usually implies a narrower bound
	entryOverhead   = 256       // bytes of an entry beside name and content, rounded up
)

// ExtractOptions bounds what Extract writes. The zero value is useful.
type ExtractOptions struct {
	MaxFile  int64 // bytes of one file; 0 means 2 GiB
	MaxTotal int64 // bytes of all files; 0 means 8 GiB
}

// Extracted is a file that Extract wrote.
type Extracted struct {
	Name   string // in the package
	Path   string // in the directory
	Size   int64
	SHA256 string // lower-case hexadecimal
}

// Extract writes the regular files of the package with the paths in want into dest, in that order
// and under names derived from it. It reads the payload up to the last of them.
//
// It writes nothing else; dest may have other files, but none with these names. After an error
// nothing is left in dest. Contents are checked against the header's digests if these are SHA-256,
// so that after [RPM.Verify] a file is as it was signed. A file beyond the limits gives
// [decompress.ErrTooLarge], one that the package does not have [fs.ErrNotExist]; any other fault of
// the package is a [*FormatError].
func (r *RPM) Extract(ctx context.Context, dest *os.Root, want []string,
	o ExtractOptions) ([]Extracted, error) {
	x := &extraction{rpm: r, dest: dest, links: newHardLinks(r.files), wanted: map[int][]int{},
		got: make([]Extracted, len(want))}
	if err := x.plan(want, o); err != nil {
		return nil, fmt.Errorf("%s: %w", r.file, err)
	}
	if len(want) == 0 {
		return nil, nil
	}
	err := r.withPayload(ctx, func(compressed io.Reader) error { return x.run(ctx, compressed) })
	if err != nil {
		return nil, errors.Join(err, x.undo())
	}
	return x.got, nil
}

// extraction is one call of Extract.
type extraction struct {
	rpm     *RPM
	dest    *os.Root
	links   *hardLinks
	wanted  map[int][]int // by leader of the file's hard links: where in got the file is wanted
	missing int           // leaders not seen yet
	got     []Extracted
	created []string
}

// plan finds the wanted files in the header.
func (x *extraction) plan(want []string, o ExtractOptions) error {
	maxFile, left := cmp.Or(o.MaxFile, defaultMaxFile), cmp.Or(o.MaxTotal, defaultMaxTotal)
	for n, name := range want {
		i, ok := x.rpm.byName[path.Join("/", name)]
		if !ok || x.rpm.files[i].ghost {
			return fmt.Errorf("file %q: %w", name, fs.ErrNotExist)
		}
		f := &x.rpm.files[i]
		switch {
		case !f.Mode.IsRegular():
			return fmt.Errorf("%q is not a regular file (%s)", name, f.Mode)
		case f.Size > maxFile:
			return fmt.Errorf("%q has %d bytes: %w (%d)", name, f.Size, decompress.ErrTooLarge,
				maxFile)
		case f.Size > left:
			return fmt.Errorf("%q and the files before it: %w (%d bytes in all)", name,
				decompress.ErrTooLarge, cmp.Or(o.MaxTotal, defaultMaxTotal))
		}
		left -= f.Size
		leader := x.links.leader[i]
		x.wanted[leader] = append(x.wanted[leader], n)
		x.got[n] = Extracted{Name: f.Name, Path: fmt.Sprintf("file%d", n), Size: f.Size}
	}
	x.missing = len(x.wanted)
	return nil
}

// run reads the payload until everything wanted is written.
func (x *extraction) run(ctx context.Context, compressed io.Reader) (err error) {
	format, compressed, err := x.rpm.format(compressed)
	if err != nil {
		return fmt.Errorf("%s: %w", x.rpm.file, err)
	}
	limit, err := x.rpm.uncompressedLimit()
	if err != nil {
		return fmt.Errorf("%s: %w", x.rpm.file, err)
	}
	payload, err := decompress.NewReader(ctx, format, compressed,
		decompress.Options{MaxSize: limit})
	if err != nil {
		return fmt.Errorf("%s: payload: %w", x.rpm.file, err)
	}
	// whatever it says: the wanted files are there with the right digests, or there is an error
	defer payload.Close()
	archive := newCPIO(payload, x.rpm, x.links)
	for x.missing > 0 {
		index, size, err := archive.next()
		if errors.Is(err, io.EOF) {
			return x.notThere()
		}
		if err == nil {
			err = x.take(archive, index, size)
		}
		if err != nil {
			return x.explain(ctx, err)
		}
	}
	return nil
}

// explain attributes err to the package or to the system.
func (x *extraction) explain(ctx context.Context, err error) error {
	var disk *fs.PathError
	if ctx.Err() != nil || errors.As(err, &disk) {
		return fmt.Errorf("%s: %w", x.rpm.file, err)
	}
	return formatError(x.rpm.file, "payload", err)
}

// notThere returns the error for a wanted file that the payload lacks.
func (x *extraction) notThere() error {
	for _, e := range x.got {
		if e.SHA256 == "" {
			return &FormatError{x.rpm.file, "payload",
				fmt.Errorf("%q is in the header's list, but not in the payload", e.Name)}
		}
	}
	return &FormatError{x.rpm.file, "payload", io.ErrUnexpectedEOF}
}

// take writes the archive's current entry if it is wanted under any of its names.
func (x *extraction) take(archive io.Reader, index int, size int64) error {
	f := &x.rpm.files[index]
	leader := x.links.leader[index]
	where := x.wanted[leader]
	if len(where) == 0 || size != f.Size { // the content of hard links comes with another name
		return nil
	}
	delete(x.wanted, leader)
	x.missing--
	h := sha256.New()
	if err := x.write(archive, h, where); err != nil {
		return err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	if f.digest != "" && f.digest != sum {
		return fmt.Errorf("%q: %w: got %s, want %s", f.Name, digest.ErrMismatch, sum, f.digest)
	}
	for _, n := range where {
		x.got[n].SHA256 = sum
	}
	return nil
}

// write copies one content to all files that want it, and to the hash.
func (x *extraction) write(content io.Reader, h io.Writer, where []int) (err error) {
	writers := []io.Writer{h}
	for _, n := range where {
		f, openErr := x.dest.OpenFile(x.got[n].Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if openErr != nil {
			return openErr
		}
		x.created = append(x.created, x.got[n].Path)
		defer func() { err = errors.Join(err, f.Close()) }()
		writers = append(writers, f)
	}
	_, err = io.CopyBuffer(io.MultiWriter(writers...), content, make([]byte, payloadBuffer))
	return err
}

// undo removes the files written so far.
func (x *extraction) undo() error {
	var errs []error
	for _, name := range x.created {
		errs = append(errs, x.dest.Remove(name))
	}
	return errors.Join(errs...)
}

// format returns the compression of the payload. Packages that do not name one use gzip or none.
func (r *RPM) format(payload io.Reader) (decompress.Format, io.Reader, error) {
	if r.Compressor != "" {
		f, err := decompress.FromRPM(r.Compressor)
		return f, payload, err
	}
	b := bufio.NewReader(payload)
	if magic, err := b.Peek(2); err == nil && string(magic) == "\x1f\x8b" {
		return decompress.Gzip, b, nil
	}
	return decompress.None, b, nil
}

// uncompressedLimit returns the maximum length of the payload, from the header's list.
func (r *RPM) uncompressedLimit() (int64, error) {
	limit := int64(entryOverhead)
	for _, f := range r.files {
		if f.ghost {
			continue
		}
		limit += int64(len(f.Name)+len(f.Link)) + entryOverhead
		if f.Mode.IsRegular() {
			limit += min(f.Size, maxPayload)
		}
		if limit > maxPayload {
			return 0, fmt.Errorf("the files in the header's list: %w (%d bytes)",
				decompress.ErrTooLarge, int64(maxPayload))
		}
	}
	return limit, nil
}
