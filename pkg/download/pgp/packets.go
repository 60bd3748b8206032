package pgp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
)

// Packet tags, RFC 9580 section 5.
const (
	tagSignature    = 2
	tagSecretKey    = 5
	tagPublicKey    = 6
	tagSecretSubkey = 7
)

// Armor labels, RFC 9580 section 6.2.
const (
	labelSignature = "PGP SIGNATURE"
	labelPublicKey = "PGP PUBLIC KEY BLOCK"
	labelSecretKey = "PGP PRIVATE KEY BLOCK" //nolint:gosec // a label
)

// errSecretKey is for users who pin a key that they must not give away.
var errSecretKey = errors.New("this is a secret key: pin the public one (gpg --armor --export " +
	"KEY), and keep this one private")

// rawPacket is a packet as it is encoded in the data.
type rawPacket struct {
	tag  byte
	body []byte
	raw  []byte // including the header
}

// splitPackets cuts data into packets. Keys and signatures only have packets of known length.
func splitPackets(data []byte) ([]rawPacket, error) {
	var packets []rawPacket
	for off := 0; off < len(data); {
		header, length, err := packetHeader(data[off:])
		if err != nil {
			return nil, fmt.Errorf("OpenPGP packet at byte %d: %w", off, err)
		}
		start, end := off+header, int64(off+header)+length
		if end > int64(len(data)) {
			return nil, fmt.Errorf("OpenPGP packet at byte %d: %w", off, io.ErrUnexpectedEOF)
		}
		packets = append(packets, rawPacket{packetTag(data[off]), data[start:end], data[off:end]})
		off = int(end)
	}
	return packets, nil
}

// packetTag returns the type of packet in a header's first byte, in the old or the new format.
func packetTag(first byte) byte {
	if first&0x40 == 0 {
		return first >> 2 & 0xf
	}
	return first & 0x3f
}

// packetHeader returns the lengths of the packet's header and body in bytes, RFC 9580 section 4.2.
func packetHeader(b []byte) (header int, length int64, err error) {
	c := cursor{rest: b}
	first := c.uint(1)
	if first&0x80 == 0 {
		return 0, 0, fmt.Errorf("no packet begins with %#02x", first)
	}
	switch {
	case first&0x43 == 0x03:
		return 0, 0, errors.New("its length is unknown")
	case first&0x40 == 0:
		length = c.uint(1 << (first & 3))
	default:
		length = c.newLength()
	}
	if length < 0 {
		return 0, 0, errors.New("it is split into parts")
	}
	if c.short {
		return 0, 0, io.ErrUnexpectedEOF
	}
	return len(b) - len(c.rest), length, nil
}

// cursor reads big-endian numbers and byte strings. Past the end of the data it returns zeros.
type cursor struct {
	rest  []byte
	short bool
}

// take returns the next n bytes.
func (c *cursor) take(n int64) []byte {
	if n < 0 || n > int64(len(c.rest)) {
		c.rest, c.short = nil, true
		return nil
	}
	piece := c.rest[:n]
	c.rest = c.rest[n:]
	return piece
}

// uint returns a number of n bytes, at most 4.
func (c *cursor) uint(n int64) int64 {
	var v int64
	for _, b := range c.take(n) {
		v = v<<8 | int64(b)
	}
	return v
}

// newLength returns a length of one, two or five bytes, or -1 for a partial length.
func (c *cursor) newLength() int64 {
	switch first := c.uint(1); {
	case first < 192:
		return first
	case first < 224:
		return (first-192)<<8 + c.uint(1) + 192
	case first == 255:
		return c.uint(4)
	}
	return -1
}

// signatureValue skips the value that algo computes, which must end the packet.
func (c *cursor) signatureValue(algo byte) error {
	switch algo {
	case algoRSA, algoRSASign:
		c.mpi()
	case algoECDSA, algoEdDSA:
		c.mpi()
		c.mpi()
	case algoEd25519:
		c.take(64)
	case algoEd448:
		c.take(114)
	default:
		return fmt.Errorf("%w: unknown public-key algorithm %d", ErrBadSignature, algo)
	}
	if c.short || len(c.rest) != 0 {
		return fmt.Errorf("%w: %w", ErrBadSignature, errPacket)
	}
	return nil
}

// mpi returns a number, RFC 9580 section 3.2. Its bit length must be that of the number, or whole
// bytes, as some programs write EdDSA values.
func (c *cursor) mpi() []byte {
	length := c.uint(2)
	value := c.take((length + 7) / 8)
	if len(value) == 0 || length%8 != 0 && bits.Len8(value[0]) != int(length%8) {
		c.short = true
	}
	return value
}

// dearmor returns binary data as they are, and for text the content of its armored blocks with the
// label, one after another.
func dearmor(data []byte, label string) ([]byte, error) {
	if len(data) > 0 && data[0]&0x80 != 0 {
		return data, nil
	}
	begin, found := []byte("-----BEGIN PGP "), false
	var out []byte
	for {
		start := bytes.Index(data, begin)
		if start < 0 {
			break
		}
		block, length, err := decodeBlock(data[start:], label)
		if err != nil {
			return nil, err
		}
		out, found = append(out, block...), true
		data = data[start+length:]
	}
	if !found {
		return nil, fmt.Errorf("neither binary OpenPGP data nor \"-----BEGIN %s-----\"", label)
	}
	return out, nil
}

// decodeBlock returns the content of the armored block at the start of data, and the block's
// length.
func decodeBlock(data []byte, label string) (body []byte, length int, err error) {
	end := bytes.Index(data, []byte("-----END PGP "))
	if end < 0 {
		return nil, 0, fmt.Errorf("armored text without an end line: %w", io.ErrUnexpectedEOF)
	}
	length = len(data)
	if eol := bytes.IndexByte(data[end:], '\n'); eol >= 0 {
		length = end + eol + 1
	}
	block, err := armor.Decode(bytes.NewReader(data[:length]))
	switch {
	case err != nil:
		return nil, 0, errors.New("damaged armored text")
	case block.Type == labelSecretKey:
		return nil, 0, errSecretKey
	case block.Type != label:
		return nil, 0, fmt.Errorf("armored text is a %.40q, not a %q", block.Type, label)
	}
	body, err = io.ReadAll(block.Body)
	if err != nil {
		return nil, 0, fmt.Errorf("damaged armored text: %w", err)
	}
	return body, length, nil
}
