package pgp

import (
	"bytes"
	"crypto/rsa"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Bounds of what Verify reads. A repository or RPM has one signature, or a few at most.
const (
	maxSignatureData = 256 << 10
	maxSignatures    = 32
)

// Verify verifies detached signatures over the content of signed. sig is binary or armored and may
// have several signatures, of which one good one by a pinned key suffices; Verify returns that one.
//
// signed is read to its end, once, and only if a pinned key could have made one of the signatures.
// Its read errors are returned as they are; all other errors wrap [ErrBadSignature].
func (k *Keyring) Verify(sig []byte, signed io.Reader, p Policy) (*Signature, error) {
	return k.VerifyAny([][]byte{sig}, signed, p)
}

// VerifyAny is [Keyring.Verify] for separate signatures: one that is unreadable does not affect the
// others.
func (k *Keyring) VerifyAny(sigs [][]byte, signed io.Reader,
	p Policy) (good *Signature, err error) {
	defer guard(&err)
	var candidates []*candidate
	var refused refusals
	met := 0
	for _, sig := range sigs {
		packets, err := signaturePackets(sig)
		if err != nil {
			refused = append(refused, err)
			continue
		}
		if met += len(packets); met > maxSignatures {
			return nil, errTooMany
		}
		for _, raw := range packets {
			found, err := k.candidates(raw, p)
			if err != nil {
				refused = append(refused, err)
			}
			candidates = append(candidates, found...)
		}
	}
	if len(candidates) > 0 {
		if err := hashAll(candidates, signed); err != nil {
			return nil, err
		}
	}
	for _, c := range candidates {
		if err := c.check(); err != nil {
			refused = append(refused, err)
			continue
		}
		return c.signature(), nil
	}
	if len(refused) == 0 {
		return nil, ErrNoSignature
	}
	return nil, refused.err()
}

// errTooMany means that there are more signatures than any signer makes.
var errTooMany = fmt.Errorf("%w: more than %d signatures", ErrBadSignature, maxSignatures)

// signaturePackets returns the packets of a detached signature, at least one.
func signaturePackets(sig []byte) ([]rawPacket, error) {
	if len(bytes.TrimSpace(sig)) == 0 {
		return nil, ErrNoSignature
	}
	if len(sig) > maxSignatureData {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrBadSignature, maxSignatureData)
	}
	data, err := dearmor(sig, labelSignature)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadSignature, err)
	}
	packets, err := splitPackets(data)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrBadSignature, err)
	case len(packets) == 0:
		return nil, ErrNoSignature
	case len(packets) > maxSignatures:
		return nil, errTooMany
	}
	for _, p := range packets {
		if p.tag != tagSignature {
			return nil, fmt.Errorf("%w: not a detached signature: OpenPGP packet of type %d",
				ErrBadSignature, p.tag)
		}
	}
	return packets, nil
}

// candidate is a signature and a pinned key that may have made it. Everything that does not depend
// on the data has been checked.
type candidate struct {
	*sigPacket
	key    *pinned
	pub    *packet.PublicKey
	subkey bool
	h      hash.Hash
}

// candidates returns the pinned keys that may have made the signature: none (with the reason), one,
// or several in the rare case of equal key ids.
func (k *Keyring) candidates(raw rawPacket, p Policy) ([]*candidate, error) {
	s, err := parseSignature(raw)
	if err != nil {
		return nil, err
	}
	if err := s.checkTime(p.now()); err != nil {
		return nil, err
	}
	at := p.now()
	if p.AtSigning {
		at = s.created
	}
	var found []*candidate
	var refused refusals
	for _, key := range k.byID(s.issuer) {
		c, err := newCandidate(s, key, at)
		if err != nil {
			refused = append(refused, err)
			continue
		}
		found = append(found, c)
	}
	if len(found) == 0 && len(refused) == 0 {
		return nil, fmt.Errorf("%w: made by %016X; %s; if you trust that key, pin it as well",
			ErrUnknownKey, s.issuer, k)
	}
	return found, refused.err()
}

// byID returns the pinned keys that have the id, or a subkey with it.
func (k *Keyring) byID(id uint64) []*pinned {
	var found []*pinned
	if k != nil {
		for _, p := range k.keys {
			for _, own := range p.ids {
				if own == id {
					found = append(found, p)
				}
			}
		}
	}
	return found
}

// newCandidate finds the part of key that may have made s and checks that it was allowed to at the
// given time.
func newCandidate(s *sigPacket, key *pinned, at time.Time) (*candidate, error) {
	e, err := key.entity()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadSignature, err)
	}
	c := &candidate{sigPacket: s, key: key}
	if e.PrimaryKey.KeyId == s.issuer {
		c.pub = e.PrimaryKey
	}
	for _, sub := range e.Subkeys {
		if c.pub == nil && sub.PublicKey.KeyId == s.issuer {
			c.pub, c.subkey = sub.PublicKey, true
		}
	}
	if c.pub == nil || s.v4 != nil && !s.v4.CheckKeyIdOrFingerprint(c.pub) {
		return nil, fmt.Errorf("%w: the signature names another key than %s", ErrUnknownKey,
			key.Fingerprint)
	}
	if err := checkSigner(e, c.pub, at, s.created); err != nil {
		return nil, err
	}
	if s.created.Before(c.pub.CreationTime) {
		return nil, fmt.Errorf("%w: older than its key %s", ErrBadSignature, fingerprint(c.pub))
	}
	if byte(c.pub.PubKeyAlgo) != s.algo {
		return nil, fmt.Errorf("%w: key %s makes no signatures of this kind", ErrBadSignature,
			fingerprint(c.pub))
	}
	c.h = s.hash.New()
	if s.v4 != nil {
		c.h.Write(s.v4.Salt())
	}
	return c, nil
}

// hashAll reads signed once for all candidates.
func hashAll(candidates []*candidate, signed io.Reader) error {
	writers := make([]io.Writer, len(candidates))
	for i, c := range candidates {
		writers[i] = c.h
	}
	_, err := io.Copy(io.MultiWriter(writers...), signed)
	return err
}

// check decides, once the data are hashed.
func (c *candidate) check() error {
	var err error
	if c.v4 != nil {
		err = c.pub.VerifySignature(c.h, c.v4)
	} else {
		err = c.checkV3()
	}
	// The library does not compare these two bytes in version 4. They add no security, but must not
	// be arbitrary.
	if err == nil && !bytes.Equal(c.h.Sum(nil)[:2], c.left) {
		err = errPacket
	}
	if err != nil {
		return fmt.Errorf("%w: %s did not sign these data: the signature or the data were changed",
			ErrBadSignature, c.key.Key)
	}
	return nil
}

// checkV3 verifies an RSA signature of version 3, whose hash ends with the type and the time of the
// signature.
func (c *candidate) checkV3() error {
	pub, ok := c.pub.PublicKey.(*rsa.PublicKey)
	if !ok {
		return errPacket
	}
	c.h.Write(c.closing)
	value := c.mpi
	if size := pub.Size(); len(value) < size { // a number has no leading zeros
		value = append(make([]byte, size-len(value)), value...)
	}
	return rsa.VerifyPKCS1v15(pub, c.hash, c.h.Sum(nil), value)
}

// signature describes c, which is good.
func (c *candidate) signature() *Signature {
	s := &Signature{Version: c.version, Key: c.key.Key, Created: c.created, Hash: c.hash.String()}
	if c.subkey {
		s.Subkey = fingerprint(c.pub)
	}
	return s
}
