package pgp

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	_ "crypto/sha256" // for the names of hashes
	_ "crypto/sha3"
	_ "crypto/sha512"
)

// Values of the fields of a signature packet, RFC 9580 sections 5.2.1, 5.2.3.7, 9.1 and 9.5.
const (
	typeBinary = 0x00 // a signature over a file as it is

	subpacketIssuer            = 16
	subpacketIssuerFingerprint = 33

	algoRSA     = 1
	algoRSASign = 3
	algoDSA     = 17
	algoECDSA   = 19
	algoEdDSA   = 22
	algoEd25519 = 27
	algoEd448   = 28
)

// hashes are the secure ones. Version 3 signatures support the first three.
var hashes = map[byte]crypto.Hash{
	8: crypto.SHA256, 9: crypto.SHA384, 10: crypto.SHA512, 12: crypto.SHA3_256, 14: crypto.SHA3_512,
}

// weakHashes are those that are not secure, or not for long.
var weakHashes = map[byte]string{1: "MD5", 2: "SHA-1", 3: "RIPEMD-160", 11: "SHA-224"}

// errPacket means that a packet is not well-formed.
var errPacket = errors.New("damaged signature packet")

// sigPacket is a well-formed signature packet over a file, made with secure algorithms.
type sigPacket struct {
	version int
	algo    byte
	hash    crypto.Hash
	created time.Time
	issuer  uint64
	left    []byte // the first two bytes of the hash

	v4 *packet.Signature // version 4 and up

	closing []byte // version 3: type and time, hashed after the data
	mpi     []byte // version 3: the RSA value
}

// parseSignature reads one signature packet.
func parseSignature(p rawPacket) (*sigPacket, error) {
	if len(p.body) == 0 {
		return nil, fmt.Errorf("%w: %w", ErrBadSignature, errPacket)
	}
	switch version := p.body[0]; version {
	case 3:
		return parseV3(p.body)
	case 4, 6:
		return parseV4(p)
	default:
		return nil, fmt.Errorf("%w: signature packet of version %d; only 3, 4 and 6 are supported",
			ErrBadSignature, version)
	}
}

// parseV3 reads a version 3 packet, RFC 4880 section 5.2.2.
func parseV3(body []byte) (*sigPacket, error) {
	c := cursor{rest: body}
	s := &sigPacket{version: int(c.uint(1))}
	hashed := c.uint(1)
	s.closing = c.take(5)
	issuer := c.take(8)
	s.algo = byte(c.uint(1))
	hashID := byte(c.uint(1))
	s.left = c.take(2)
	if c.short || hashed != 5 {
		return nil, fmt.Errorf("%w: %w", ErrBadSignature, errPacket)
	}
	s.issuer = binary.BigEndian.Uint64(issuer)
	s.created = time.Unix(int64(binary.BigEndian.Uint32(s.closing[1:])), 0).UTC()
	if err := s.setKind(s.closing[0], hashID); err != nil {
		return nil, err
	}
	if s.algo != algoRSA && s.algo != algoRSASign || hashID > 10 {
		return nil, fmt.Errorf("%w: the version 3 signature is not RSA with SHA-2", ErrBadSignature)
	}
	s.mpi = c.mpi()
	if c.short || len(c.rest) != 0 {
		return nil, fmt.Errorf("%w: %w", ErrBadSignature, errPacket)
	}
	return s, nil
}

// setKind checks the type of signature and the hash.
func (s *sigPacket) setKind(kind, hashID byte) error {
	if kind != typeBinary {
		return fmt.Errorf("%w: it has type %#02x, which is not for files", ErrBadSignature, kind)
	}
	if name, weak := weakHashes[hashID]; weak {
		return fmt.Errorf("%w: made with %s; sign again with SHA-256 (gpg --digest-algo SHA256)",
			ErrWeak, name)
	}
	if s.algo == algoDSA {
		return fmt.Errorf("%w: made by a DSA key", ErrWeak)
	}
	var known bool
	if s.hash, known = hashes[hashID]; !known {
		return fmt.Errorf("%w: unknown hash algorithm %d", ErrBadSignature, hashID)
	}
	return nil
}

// parseV4 parses a packet of version 4 or 6, RFC 9580 section 5.2.3. go-crypto interprets it, and
// this package checks its form, about which go-crypto is lax.
func parseV4(p rawPacket) (*sigPacket, error) {
	s := &sigPacket{version: int(p.body[0])}
	width := int64(2)
	if s.version == 6 {
		width = 4
	}
	c := cursor{rest: p.body[1:]}
	kind := byte(c.uint(1))
	s.algo = byte(c.uint(1))
	hashID := byte(c.uint(1))
	c.take(c.uint(width)) // hashed subpackets
	unhashed := c.take(c.uint(width))
	s.left = c.take(2)
	if s.version == 6 {
		c.take(c.uint(1)) // salt
	}
	if c.short {
		return nil, fmt.Errorf("%w: %w", ErrBadSignature, errPacket)
	}
	if err := s.setKind(kind, hashID); err != nil {
		return nil, err
	}
	if err := checkUnhashed(unhashed); err != nil {
		return nil, err
	}
	if err := c.signatureValue(s.algo); err != nil {
		return nil, err
	}
	return s, s.interpret(p.raw)
}

// interpret lets go-crypto read the packet.
func (s *sigPacket) interpret(raw []byte) error {
	p, err := packet.Read(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadSignature, err)
	}
	sig, ok := p.(*packet.Signature)
	if !ok || sig.Version != s.version || sig.Hash != s.hash {
		return fmt.Errorf("%w: %w", ErrBadSignature, errPacket)
	}
	for _, n := range sig.Notations {
		if n.IsCritical {
			return fmt.Errorf("%w: it depends on the unknown notation %.80q", ErrBadSignature,
				n.Name)
		}
	}
	if sig.IssuerKeyId == nil {
		return fmt.Errorf("%w: it does not name the key that made it", ErrUnknownKey)
	}
	s.v4, s.issuer, s.created = sig, *sig.IssuerKeyId, sig.CreationTime.UTC()
	return nil
}

// checkTime checks when the signature was made and until when it is valid.
func (s *sigPacket) checkTime(now time.Time) error {
	if s.created.After(now.Add(clockSkew)) {
		return fmt.Errorf("%w: made in the future (%s); check this machine's clock",
			ErrBadSignature, day(s.created))
	}
	if s.v4 != nil && s.v4.SigLifetimeSecs != nil && *s.v4.SigLifetimeSecs != 0 {
		if end := s.created.Add(time.Duration(*s.v4.SigLifetimeSecs) *
			time.Second); now.After(end) {
			return fmt.Errorf("%w: the signature, on %s", ErrExpired, day(end))
		}
	}
	return nil
}

// checkUnhashed allows nothing in the uncovered part of a signature but what identifies the key.
func checkUnhashed(area []byte) error {
	c := cursor{rest: area}
	for len(c.rest) > 0 {
		length := c.newLength()
		if length < 1 {
			return fmt.Errorf("%w: %w", ErrBadSignature, errPacket)
		}
		body := c.take(length)
		if c.short {
			return fmt.Errorf("%w: %w", ErrBadSignature, errPacket)
		}
		if body[0] != subpacketIssuer && body[0] != subpacketIssuerFingerprint {
			return fmt.Errorf("%w: it does not cover a subpacket of type %d", ErrBadSignature,
				body[0])
		}
	}
	return nil
}
