package decompress

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math"
)

// This file reads the .xz container, and uses the library only for the LZMA2 data in it. The
// library's own reader of the container allocates any dictionary that a block header asks for, and
// accepts a file that ends before a block header as complete. The format is specified in
// https://tukaani.org/xz/xz-file-format.txt

var (
	errHeader  = errors.New("damaged xz header")
	errBlock   = errors.New("xz block does not match its header")
	errCheck   = errors.New("xz checksum does not match")
	errIndex   = errors.New("xz index does not match the blocks")
	errPadding = errors.New("xz padding is not zero")
)

// xzReader reads one stream after another.
type xzReader struct {
	in        *counter
	maxMemory uint64
	check     checkType
	flags     [2]byte // of the stream header, repeated in the footer
	seen      *recordSum
	block     *xzBlock // the block being read
	inside    bool     // of the current stream
	streams   int      // finished streams
}

func newXZStream(src io.Reader, maxMemory uint64) io.ReadCloser {
	return &xzReader{in: &counter{r: bufio.NewReaderSize(src, inputBuffer)}, maxMemory: maxMemory}
}

func (x *xzReader) Close() error { return nil }

func (x *xzReader) Read(p []byte) (int, error) {
	for {
		if x.block == nil {
			if err := x.next(); err != nil {
				return 0, err
			}
			continue
		}
		n, err := x.block.Read(p)
		if errors.Is(err, io.EOF) {
			unpadded, size, endErr := x.block.end(x.in)
			x.seen.add(unpadded, size)
			x.block, err = nil, endErr
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// next proceeds to the next block, past the end of a stream and the start of another if need be. It
// returns io.EOF if there is none.
func (x *xzReader) next() (err error) {
	if !x.inside {
		if err := x.streamHeader(); err != nil {
			return err
		}
	}
	start := x.in.n
	size, err := x.in.ReadByte()
	if err != nil {
		return noEOF(err)
	}
	if size != 0 {
		x.block, err = x.openBlock(start, size)
		return noEOF(err)
	}
	x.inside = false
	x.streams++
	return noEOF(x.indexAndFooter(start))
}

const (
	xzMagic    = "\xfd7zXZ\x00"
	xzEndMagic = "YZ"
)

// streamHeader reads the 12 bytes at the start of a stream. It returns io.EOF if there are none,
// after any number of groups of four zeros.
func (x *xzReader) streamHeader() error {
	var h [12]byte
	for {
		n, err := io.ReadFull(x.in, h[:4])
		switch {
		case n == 0:
			return err
		case err != nil:
			return noEOF(err)
		}
		if x.streams == 0 || !bytes.Equal(h[:4], make([]byte, 4)) {
			break
		}
	}
	if _, err := io.ReadFull(x.in, h[4:]); err != nil {
		return noEOF(err)
	}
	flags := h[6:8]
	if string(h[:6]) != xzMagic || !sumMatches(flags, h[8:]) {
		if x.streams > 0 && string(h[:6]) != xzMagic {
			return errTrailing
		}
		return errHeader
	}
	if flags[0] != 0 || flags[1] > 0x0f {
		return fmt.Errorf("xz stream flags %#x: %w", flags, ErrUnsupported)
	}
	x.flags, x.check = [2]byte(flags), checkType(flags[1])
	if x.check.newHash() == nil {
		return fmt.Errorf("xz integrity check %d: %w", x.check, ErrUnsupported)
	}
	x.inside, x.seen = true, newRecordSum()
	return nil
}

// indexAndFooter reads the rest of a stream, whose index indicator was read at start.
func (x *xzReader) indexAndFooter(start int64) error {
	x.in.sum = crc32.NewIEEE()
	x.in.sum.Write([]byte{0})
	listed, err := x.index(start)
	if err != nil {
		return err
	}
	want := x.in.sum.Sum32()
	x.in.sum = nil
	// the checksum of the index; that of the footer, size of the index, flags, magic
	var end [4 + 12]byte
	indexSize := x.in.n + 4 - start
	if _, err := io.ReadFull(x.in, end[:]); err != nil {
		return err
	}
	footer := end[4:]
	switch {
	case binary.LittleEndian.Uint32(end[:]) != want, !sumMatches(footer[4:10], footer),
		string(footer[10:]) != xzEndMagic, [2]byte(footer[8:10]) != x.flags:
		return errHeader
	case !listed.equal(x.seen), (int64(binary.LittleEndian.Uint32(footer[4:]))+1)*4 != indexSize:
		return errIndex
	}
	return nil
}

// index reads the list of blocks and the padding after it.
func (x *xzReader) index(start int64) (*recordSum, error) {
	records, err := x.in.uvarint()
	if err != nil {
		return nil, err
	}
	if records != x.seen.count {
		return nil, errIndex
	}
	listed := newRecordSum()
	for range records {
		unpadded, err := x.in.uvarint()
		if err != nil {
			return nil, err
		}
		size, err := x.in.uvarint()
		if err != nil {
			return nil, err
		}
		listed.add(unpadded, size)
	}
	return listed, x.in.padding(start)
}

// recordSum represents the list of a stream's blocks, which may be long, in constant memory.
type recordSum struct {
	count int64
	sum   hash.Hash
}

func newRecordSum() *recordSum { return &recordSum{sum: sha256.New()} }

func (r *recordSum) add(unpadded, size int64) {
	r.count++
	r.sum.Write(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil,
		uint64(unpadded)), uint64(size)))
}

func (r *recordSum) equal(o *recordSum) bool {
	return r.count == o.count && bytes.Equal(r.sum.Sum(nil), o.sum.Sum(nil))
}

// counter counts the bytes that it reads, and adds them to sum if that is set.
type counter struct {
	r   *bufio.Reader
	n   int64
	sum hash.Hash32
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counter) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
		if c.sum != nil {
			c.sum.Write([]byte{b})
		}
	}
	return b, err
}

// uvarint reads a number in xz's encoding, below 2^63.
func (c *counter) uvarint() (int64, error) {
	n, err := binary.ReadUvarint(c)
	if err == nil && n > math.MaxInt64 {
		err = errHeader
	}
	return int64(n), noEOF(err)
}

// padding reads the zeros that pad what began at start to a multiple of four bytes.
func (c *counter) padding(start int64) error {
	for (c.n-start)%4 != 0 {
		switch b, err := c.ReadByte(); {
		case err != nil:
			return noEOF(err)
		case b != 0:
			return errPadding
		}
	}
	return nil
}

// sumMatches reports whether sum begins with the little-endian CRC32 of data.
func sumMatches(data, sum []byte) bool {
	return crc32.ChecksumIEEE(data) == binary.LittleEndian.Uint32(sum)
}
