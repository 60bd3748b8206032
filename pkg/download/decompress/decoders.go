package decompress

import (
	"bufio"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// inputBuffer is the buffer size in bytes for decoders that read single bytes.
const inputBuffer = 128 << 10

// gzipReader reads one member after another. The library's multi-member mode accepts a header that
// breaks off inside the file name as the end of the input.
type gzipReader struct {
	in     *bufio.Reader
	z      gzip.Reader
	inside bool // of the current member
}

func newGzip(src io.Reader) io.ReadCloser {
	return &gzipReader{in: bufio.NewReaderSize(src, inputBuffer)}
}

func (g *gzipReader) Read(p []byte) (int, error) {
	for {
		if !g.inside {
			if _, err := g.in.Peek(1); err != nil {
				return 0, err
			}
			if err := g.z.Reset(g.in); err != nil {
				return 0, noEOF(err)
			}
			g.z.Multistream(false)
			g.inside = true
		}
		n, err := g.z.Read(p)
		if errors.Is(err, io.EOF) {
			g.inside, err = false, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (g *gzipReader) Close() error { return nil }

func newBzip2(src io.Reader) io.ReadCloser {
	return io.NopCloser(bzip2.NewReader(bufio.NewReaderSize(src, inputBuffer)))
}

// zstdReader translates the library's errors into this package's.
type zstdReader struct{ *zstd.Decoder }

// newZstd decodes in the goroutine that reads. With more goroutines it was slower by a seventh, and
// one would go on reading src after an error.
func newZstd(src io.Reader, maxMemory uint64) io.ReadCloser {
	maxMemory = min(max(maxMemory, zstd.MinWindowSize), zstd.MaxWindowSize)
	d, err := zstd.NewReader(src, zstd.WithDecoderMaxWindow(maxMemory),
		zstd.WithDecoderMaxMemory(maxMemory),
		zstd.WithDecoderConcurrency(1), zstd.WithDecodeBuffersBelow(0))
	if err != nil {
		return failed{err}
	}
	return zstdReader{d}
}

func (z zstdReader) Read(p []byte) (int, error) {
	n, err := z.Decoder.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		err = fmt.Errorf("window: %w", ErrTooLarge)
	}
	return n, err
}

func (z zstdReader) Close() error {
	z.Decoder.Close()
	return nil
}

// failed is a decoder that could not be set up.
type failed struct{ err error }

func (f failed) Read([]byte) (int, error) { return 0, f.err }
func (f failed) Close() error             { return nil }

// noEOF turns io.EOF into io.ErrUnexpectedEOF, for reads in the middle of the input.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
