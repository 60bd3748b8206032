package decompress

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"math"
	"slices"

	"github.com/ulikunitz/xz/lzma"
)

// xzBlock reads one block of an xz stream.
type xzBlock struct {
	packed, size int64 // from the header; -1 if it does not say
	data         io.Reader
	check        hash.Hash
	start        int64 // offset of the header
	dataStart    int64
	read         int64
}

// checkType is the kind of a block's checksum.
type checkType byte

// newHash returns the hash, or nil for an unknown kind.
func (c checkType) newHash() hash.Hash {
	switch c {
	case 0:
		return noCheck{}
	case 1:
		return reversed{crc32.NewIEEE()}
	case 4:
		return reversed{crc64.New(crc64.MakeTable(crc64.ECMA))}
	case 10:
		return sha256.New()
	}
	return nil
}

// reversed is a hash whose sum is in little-endian order.
type reversed struct{ hash.Hash }

func (r reversed) Sum(b []byte) []byte {
	sum := r.Hash.Sum(nil)
	slices.Reverse(sum)
	return append(b, sum...)
}

// noCheck is the hash of no bytes.
type noCheck struct{ hash.Hash }

func (noCheck) Write(p []byte) (int, error) { return len(p), nil }
func (noCheck) Sum(b []byte) []byte         { return b }

// openBlock reads the header of a block, whose first byte was read at start, and prepares to read
// its data.
func (x *xzReader) openBlock(start int64, first byte) (*xzBlock, error) {
	header := make([]byte, (int(first)+1)*4)
	header[0] = first
	if _, err := io.ReadFull(x.in, header[1:]); err != nil {
		return nil, err
	}
	fields := header[:len(header)-4]
	if !sumMatches(fields, header[len(fields):]) {
		return nil, errHeader
	}
	b, dictionary, err := parseBlockHeader(fields[1:])
	if err != nil {
		return nil, err
	}
	if uint64(dictionary) > x.maxMemory {
		return nil, fmt.Errorf("dictionary of %d bytes: %w", dictionary, ErrTooLarge)
	}
	if b.size >= 0 { // a dictionary larger than the data is never filled
		dictionary = min(dictionary, b.size)
	}
	b.check, b.start, b.dataStart = x.check.newHash(), start, x.in.n
	config := lzma.Reader2Config{DictCap: int(max(dictionary, lzma.MinDictCap))}
	b.data, err = config.NewReader2(x.in)
	return b, err
}

const (
	blockHasPacked = 0x40
	blockHasSize   = 0x80
	blockReserved  = 0x3c
	blockFilters   = 0x03 // the encoded value is one less
	filterLZMA2    = 0x21
)

// parseBlockHeader reads the header from the flags to the padding.
func parseBlockHeader(fields []byte) (b *xzBlock, dictionary int64, err error) {
	flags, in := fields[0], bytes.NewReader(fields[1:])
	number := func(there bool) int64 {
		if err != nil || !there {
			return -1
		}
		var n uint64
		if n, err = binary.ReadUvarint(in); err != nil || n > math.MaxInt64 {
			err = errHeader
		}
		return int64(n)
	}
	b = &xzBlock{packed: number(flags&blockHasPacked != 0), size: number(flags&blockHasSize != 0)}
	filter, length := number(true), number(true)
	if err != nil {
		return nil, 0, err
	}
	if flags&blockReserved != 0 || flags&blockFilters != 0 || filter != filterLZMA2 || length != 1 {
		return nil, 0, fmt.Errorf("xz filter: %w", ErrUnsupported)
	}
	property, err := in.ReadByte()
	if err != nil {
		return nil, 0, errHeader
	}
	if dictionary, err = lzma.DecodeDictCap(property); err != nil {
		return nil, 0, errHeader
	}
	for range in.Len() {
		if zero, _ := in.ReadByte(); zero != 0 {
			return nil, 0, errPadding
		}
	}
	return b, dictionary, nil
}

// Read returns the block's data.
func (b *xzBlock) Read(p []byte) (int, error) {
	n, err := b.data.Read(p)
	b.check.Write(p[:n])
	b.read += int64(n)
	if b.size >= 0 && b.read > b.size {
		return n, errBlock
	}
	return n, err
}

// end reads what follows the data and returns the index record of the block.
func (b *xzBlock) end(in *counter) (unpadded, size int64, err error) {
	packed := in.n - b.dataStart
	unpadded = in.n - b.start
	if b.packed >= 0 && packed != b.packed || b.size >= 0 && b.read != b.size {
		return 0, 0, errBlock
	}
	if err := in.padding(b.start); err != nil {
		return 0, 0, err
	}
	want := b.check.Sum(nil)
	have := make([]byte, len(want))
	if _, err := io.ReadFull(in, have); err != nil {
		return 0, 0, noEOF(err)
	}
	if !bytes.Equal(want, have) {
		return 0, 0, errCheck
	}
	return unpadded + int64(len(want)), b.read, nil
}
