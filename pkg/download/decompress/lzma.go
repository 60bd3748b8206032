package decompress

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/ulikunitz/xz/lzma"
)

// lzmaReader reads the header with the first Read, which thus returns its errors as with all other
// formats.
type lzmaReader struct {
	in        *bufio.Reader
	maxMemory uint64
	r         *lzma.Reader
}

func newLZMA(src io.Reader, maxMemory uint64) io.ReadCloser {
	return &lzmaReader{in: bufio.NewReaderSize(src, inputBuffer), maxMemory: maxMemory}
}

func (l *lzmaReader) Read(p []byte) (int, error) {
	if l.r == nil {
		if _, err := l.in.Peek(lzma.HeaderLen); err != nil {
			return 0, noEOF(err)
		}
		limit := min(max(l.maxMemory, lzma.MinDictCap), lzma.MaxDictCap, math.MaxInt)
		r, err := lzma.ReaderConfig{DictCap: int(limit)}.NewReader(l.in)
		if size, ok := errors.AsType[*lzma.ErrDictSize](err); ok {
			return 0, fmt.Errorf("dictionary of %d bytes: %w", size.HeaderDictSize, ErrTooLarge)
		}
		if err != nil {
			return 0, noEOF(err)
		}
		l.r = r
	}
	n, err := l.r.Read(p)
	if errors.Is(err, io.EOF) {
		if _, more := l.in.Peek(1); more == nil {
			err = errTrailing
		}
	}
	return n, err
}

func (l *lzmaReader) Close() error { return nil }
