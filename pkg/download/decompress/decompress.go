// Package decompress reads the compression formats of repositories and RPM payloads.
//
// A reader delivers all of the data, or an error. Input that ends early, fails its checksum, is
// followed by something else or exceeds the limits of [Options] never counts as complete.
// Dictionaries and windows are bounded before memory is allocated for them. gzip, zstd and bzip2
// are read in this process; xz and lzma by the system's xz if there is one, which is much faster,
// and otherwise in this process. This package neither compresses, nor reads zchunk, nor interprets
// the data.
package decompress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
)

// ErrTooLarge means that the decompressed data, or the memory needed to decompress them, exceed the
// limit.
var ErrTooLarge = errors.New("exceeds the size limit")

// ErrUnsupported means that a compression, or a rare part of it such as a filter other than LZMA2,
// is not supported.
var ErrUnsupported = errors.New("compression is not supported")

// ErrCorrupt means that the input is not complete and valid in its format. If it merely ends too
// early, the error also wraps [io.ErrUnexpectedEOF].
var ErrCorrupt = errors.New("damaged data")

// Format is a compression format.
type Format string

// The formats that NewReader reads.
const (
	None  Format = "none"
	Gzip  Format = "gzip"
	Zstd  Format = "zstd"
	XZ    Format = "xz"
	Bzip2 Format = "bzip2"
	LZMA  Format = "lzma" // the predecessor of xz; it has no checksum
)

// defaultMaxMemory is twice what `zstd --ultra -22` needs and four times what `xz -9e` needs.
const defaultMaxMemory = 256 << 20

// Options limit and direct a reader. The zero value is useful.
type Options struct {
	MaxMemory uint64 // bytes of a dictionary or window; 0 means 256 MiB
	// bytes of decompressed data, beyond which none are delivered; 0 means no limit
	MaxSize    int64
	NoSystemXZ bool // read xz and lzma in this process even if the system has an xz
}

// FromName returns the format for a file's suffix: .gz, .zst, .xz, .bz2 or .lzma. Any other name is
// [None], except that .zck (zchunk) gives [ErrUnsupported].
func FromName(name string) (Format, error) {
	switch path.Ext(name) {
	case ".gz":
		return Gzip, nil
	case ".zst":
		return Zstd, nil
	case ".xz":
		return XZ, nil
	case ".bz2":
		return Bzip2, nil
	case ".lzma":
		return LZMA, nil
	case ".zck":
		return "", fmt.Errorf("%.200q: zchunk %w", name, ErrUnsupported)
	}
	return None, nil
}

// FromRPM returns the format for the value of an RPM's PAYLOADCOMPRESSOR tag; "" is [None].
func FromRPM(compressor string) (Format, error) {
	switch f := Format(compressor); f {
	case "":
		return None, nil
	case Gzip, Zstd, XZ, Bzip2, LZMA:
		return f, nil
	}
	return "", fmt.Errorf("payload compressor %.40q: %w", compressor, ErrUnsupported)
}

// NewReader returns a reader of the decompressed content of r. It returns r's errors unchanged.
//
// If the input has several streams one after another (gzip members, zstd frames, xz and bzip2
// streams), the data are those of all of them. Anything else after the last stream is an error,
// including zero padding except where xz allows it. The command-line tools are more lenient, but
// only with gzip (a warning and status 2; zeros are ignored) and bzip2 (a warning). Empty input is
// an error, except for [None].
//
// The reader is for one goroutine. When ctx is done, Read fails with ctx's cause as soon as a
// pending Read of r returns. The reader must be closed; Close does not close r. Until Close
// returns, r may still be read; Close waits at most half a second for an r that hangs while the
// system's xz is running.
func NewReader(ctx context.Context, f Format, r io.Reader, o Options) (io.ReadCloser, error) {
	o.MaxMemory = cmp.Or(o.MaxMemory, defaultMaxMemory)
	src := &source{ctx: ctx, r: r}
	d := &reader{ctx: ctx, format: f, src: src, left: o.MaxSize, limit: o.MaxSize}
	switch f {
	case None:
		d.dec = io.NopCloser(src)
	case Gzip:
		d.dec = newGzip(src)
	case Bzip2:
		d.dec = newBzip2(src)
	case Zstd:
		d.dec = newZstd(src, o.MaxMemory)
	case XZ, LZMA:
		d.dec = newXZ(ctx, f, src, o)
	default:
		return nil, fmt.Errorf("%.40q: %w", string(f), ErrUnsupported)
	}
	return d, nil
}
