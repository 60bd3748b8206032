package rpmfile

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // what old packages have against transfer errors
	"crypto/sha256"
	"crypto/sha3"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/sassoftware/go-rpmutils"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
)

// Bounds of the headers. The largest that exist (kernel sources, some 100000 files) have about 20
// MiB.
const (
	maxHeaders = 64 << 20 // bytes of lead, signature header and general header
	maxTags    = 1 << 16  // in one header, as in RPM
	maxStrings = 1 << 21  // in one tag
)

const (
	leadSize  = 96
	introSize = 16
	indexSize = 16
)

var (
	leadMagic   = []byte{0xed, 0xab, 0xee, 0xdb}
	headerMagic = []byte{0x8e, 0xad, 0xe8, 0x01}
)

// Tags of the signature header, as encoded in the file.
const (
	sigDSAHeader = 267
	sigRSAHeader = 268
	sigSHA1      = 269
	sigSHA256    = 273
	sigOpenPGP   = 278 // RPM 6: base64, one string per signature
	sigSHA3256   = 279
	sigPGP       = 1002
	sigMD5       = 1004
	sigGPG       = 1005
)

// headers holds everything before the payload.
type headers struct {
	parsed  *rpmutils.RpmHeader
	general []byte           // the general header's bytes
	sigTags map[int32][]byte // the signature header's
	end     int64
}

// readHeaders reads and checks both headers.
func readHeaders(r io.ReaderAt, size int64) (*headers, error) {
	lead := make([]byte, leadSize)
	if size < leadSize {
		return nil, io.ErrUnexpectedEOF
	}
	if _, err := r.ReadAt(lead, 0); err != nil {
		return nil, noEOF(err)
	}
	if !bytes.HasPrefix(lead, leadMagic) {
		return nil, errors.New("not an RPM package")
	}
	signature, err := readTable(r, leadSize, size, 8)
	if err != nil {
		return nil, fmt.Errorf("signature header: %w", err)
	}
	general, err := readTable(r, leadSize+int64(len(signature)), size, 1)
	if err != nil {
		return nil, fmt.Errorf("general header: %w", err)
	}
	sigTags, err := walk(signature)
	if err != nil {
		return nil, fmt.Errorf("signature header: %w", err)
	}
	if _, err := walk(general); err != nil {
		return nil, fmt.Errorf("general header: %w", err)
	}
	if err := checkHeaderDigest(sigTags, general); err != nil {
		return nil, err
	}
	parsed, err := rpmutils.ReadHeader(bytes.NewReader(slices.Concat(lead, signature, general)))
	if err != nil {
		return nil, err
	}
	end := int64(leadSize + len(signature) + len(general))
	return &headers{parsed, general, sigTags, end}, nil
}

// readTable reads the header at off, padded to a multiple of align.
func readTable(r io.ReaderAt, off, size, align int64) ([]byte, error) {
	intro := make([]byte, introSize)
	if off+introSize > size {
		return nil, io.ErrUnexpectedEOF
	}
	if _, err := r.ReadAt(intro, off); err != nil {
		return nil, noEOF(err)
	}
	if !bytes.HasPrefix(intro, headerMagic) {
		return nil, errors.New("it has no header magic")
	}
	tags, data := int64(binary.BigEndian.Uint32(intro[8:])),
		int64(binary.BigEndian.Uint32(intro[12:]))
	data = (data + align - 1) / align * align
	length := introSize + indexSize*tags + data
	switch {
	case tags > maxTags:
		return nil, fmt.Errorf("%d tags exceed the limit of %d", tags, maxTags)
	case off+length > maxHeaders:
		return nil, fmt.Errorf("the headers have more than %d bytes", maxHeaders)
	case off+length > size:
		return nil, io.ErrUnexpectedEOF
	}
	table := make([]byte, length)
	if _, err := r.ReadAt(table, off); err != nil {
		return nil, noEOF(err)
	}
	return table, nil
}

// noEOF turns io.EOF into io.ErrUnexpectedEOF, for reads that must not meet the end.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// walk checks that each tag's value lies within the header and that values barely overlap, which
// bounds all further work on them. It returns the values' bytes.
func walk(table []byte) (map[int32][]byte, error) {
	tags := int(binary.BigEndian.Uint32(table[8:]))
	index, data := table[introSize:introSize+indexSize*tags], table[introSize+indexSize*tags:]
	values := make(map[int32][]byte, tags)
	budget := 2 * len(data)
	for i := range tags {
		e := index[indexSize*i:]
		field := func(n int) int32 { return int32(binary.BigEndian.Uint32(e[4*n:])) }
		tag, kind, off, count := field(0), field(1), field(2), field(3)
		if off < 0 || int(off) > len(data) || count < 0 {
			return nil, fmt.Errorf("tag %d lies outside the header", tag)
		}
		value, err := valueOf(data[off:], kind, int(count))
		if err != nil {
			return nil, fmt.Errorf("tag %d: %w", tag, err)
		}
		if budget -= len(value); budget < 0 {
			return nil, errors.New("the values overlap")
		}
		values[tag] = value
	}
	return values, nil
}

// sizes holds the size in bytes of one value of each fixed-size type.
var sizes = map[int32]int{
	rpmutils.RPM_NULL_TYPE: 0, rpmutils.RPM_CHAR_TYPE: 1, rpmutils.RPM_INT8_TYPE: 1,
	rpmutils.RPM_INT16_TYPE: 2,
	rpmutils.RPM_INT32_TYPE: 4, rpmutils.RPM_INT64_TYPE: 8, rpmutils.RPM_BIN_TYPE: 1,
}

// valueOf returns the count values of a type at the start of data.
func valueOf(data []byte, kind int32, count int) ([]byte, error) {
	if size, fixed := sizes[kind]; fixed {
		if count > len(data) || size*count > len(data) {
			return nil, errors.New("it is longer than the header")
		}
		return data[:size*count], nil
	}
	if kind < 0 || kind > rpmutils.RPM_I18NSTRING_TYPE {
		return nil, fmt.Errorf("it has the unknown type %d", kind)
	}
	if count > maxStrings {
		return nil, fmt.Errorf("%d strings exceed the limit of %d", count, maxStrings)
	}
	end := 0
	for range count {
		n := bytes.IndexByte(data[end:], 0)
		if n < 0 {
			return nil, errors.New("it is longer than the header")
		}
		end += n + 1
	}
	return data[:end], nil
}

// checkHeaderDigest compares the general header with its digests in the signature header; SHA-1
// counts only if there is no other. This detects damage, but does not authenticate the header.
func checkHeaderDigest(sigTags map[int32][]byte, general []byte) error {
	sha256Sum, sha3Sum := sha256.Sum256(general), sha3.Sum256(general)
	sums := map[int32][]byte{sigSHA256: sha256Sum[:], sigSHA3256: sha3Sum[:]}
	_, has256 := sigTags[sigSHA256]
	if _, has3 := sigTags[sigSHA3256]; !has256 && !has3 {
		sum := sha1.Sum(general) //nolint:gosec // see above
		sums = map[int32][]byte{sigSHA1: sum[:]}
	}
	for tag, sum := range sums {
		want, ok := sigTags[tag]
		if got := hex.EncodeToString(sum); ok && string(bytes.TrimRight(want, "\x00")) != got {
			return fmt.Errorf("%w: its digest is %s, but %.128q in the signature header",
				digest.ErrMismatch, got, bytes.TrimRight(want, "\x00"))
		}
	}
	return nil
}
