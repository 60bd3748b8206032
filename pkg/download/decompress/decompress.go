// Package decompress reads what repositories and RPM payloads are compressed with.
//
// A reader gives all of what was compressed, or an error: input that ends early, that fails its check sum, that goes on
// with something else or that grows beyond the limits of [Options] is never taken for complete. Dictionaries and windows
// are bounded before memory is taken for them. gzip, zstd and bzip2 are read in this process; xz and lzma by the
// system's xz where there is one, which is much faster, and in this process otherwise. Nothing here compresses, reads
// zchunk, or looks into the data.
package decompress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
)

// ErrTooLarge says that the decompressed data, or the memory needed to decompress them, are beyond the limit.
var ErrTooLarge = errors.New("beyond the size limit")

// ErrUnsupported says that a compression, or a rare part of it such as another filter than LZMA2, is not read here.
var ErrUnsupported = errors.New("compression is not supported")

// ErrCorrupt says that the input is not complete and sound data of its format. Where it just ends too early, the error
// wraps [io.ErrUnexpectedEOF] as well.
var ErrCorrupt = errors.New("damaged data")

// Format is a compression.
type Format string

// The formats that NewReader reads.
const (
	None  Format = "none"
	Gzip  Format = "gzip"
	Zstd  Format = "zstd"
	XZ    Format = "xz"
	Bzip2 Format = "bzip2"
	LZMA  Format = "lzma" // what was before xz; it has no check sum
)

// defaultMaxMemory holds what `zstd --ultra -22` and `xz -9e` write two and four times over.
const defaultMaxMemory = 256 << 20

// Options bounds and directs a reader. The zero value is fine.
type Options struct {
	MaxMemory  uint64 // bytes of a dictionary or window; 0: 256 MiB
	MaxSize    int64  // bytes of decompressed data, none of which beyond it is given out; 0: no limit
	NoSystemXZ bool   // read xz and lzma in this process even where the system has an xz
}

// FromName returns the format that a file's suffix names: .gz, .zst, .xz, .bz2 or .lzma; any other name is [None].
// A name that ends in .zck (zchunk) gives [ErrUnsupported].
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

// FromRPM returns the format that an RPM's tag PAYLOADCOMPRESSOR names; "" is [None].
func FromRPM(compressor string) (Format, error) {
	switch f := Format(compressor); f {
	case "":
		return None, nil
	case Gzip, Zstd, XZ, Bzip2, LZMA:
		return f, nil
	}
	return "", fmt.Errorf("payload compressor %.40q: %w", compressor, ErrUnsupported)
}

// NewReader returns a reader of what r holds, decompressed; r's errors come out of it as they are.
//
// Input of several streams one after the other (gzip members, zstd frames, xz and bzip2 streams) gives the data of all
// of them. Anything else behind the last stream is an error, zero padding too except where xz allows it; the tools are
// laxer only with gzip (a warning and status 2; zeros are ignored) and bzip2 (a warning). Empty input is an error, other
// than for [None].
//
// The reader is for one goroutine. When ctx is done its Read fails with ctx's cause, as soon as a Read of r that has
// begun returns. It must be closed; Close does not close r, but r may be read until Close returns (for half a second at
// most where r hangs and the system's xz is at work).
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
