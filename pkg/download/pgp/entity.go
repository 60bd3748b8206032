package pgp

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Sizes of RSA keys in bits. The upper bound keeps a hostile key from consuming seconds.
const (
	minRSABits = 2048
	maxRSABits = 16384
)

// config controls how go-crypto treats the self-signatures of keys. It does not reject SHA-1:
// whoever pinned a key trusts it, and old keys have nothing better.
func config() *packet.Config {
	return &packet.Config{RejectHashAlgorithms: map[crypto.Hash]bool{crypto.MD5: true,
		crypto.RIPEMD160: true}}
}

// readEntity parses one key.
func readEntity(blob []byte) (*openpgp.Entity, error) {
	e, err := openpgp.ReadEntity(packet.NewReader(bytes.NewReader(blob)))
	if errors.Is(err, io.EOF) { // the library skips what it does not know, here to the end
		return nil, errors.New("key of version 3, or of an unknown kind")
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

// mergeEntity adds to e what another copy of the same key contains.
func mergeEntity(e, other *openpgp.Entity) {
	e.Revocations = append(e.Revocations, other.Revocations...)
	e.DirectSignatures = append(e.DirectSignatures, other.DirectSignatures...)
	for name, id := range other.Identities {
		if own, ok := e.Identities[name]; ok {
			own.SelfCertifications = append(own.SelfCertifications, id.SelfCertifications...)
			own.Revocations = append(own.Revocations, id.Revocations...)
		} else {
			e.Identities[name] = id
		}
	}
next:
	for _, sub := range other.Subkeys {
		for i := range e.Subkeys {
			if own := &e.Subkeys[i]; bytes.Equal(own.PublicKey.Fingerprint,
				sub.PublicKey.Fingerprint) {
				own.Bindings = append(own.Bindings, sub.Bindings...)
				own.Revocations = append(own.Revocations, sub.Revocations...)
				continue next
			}
		}
		e.Subkeys = append(e.Subkeys, sub)
	}
}

// checkPrimary decides whether e's primary key was, or is, valid at the given time. It returns the
// self-signature that says so.
//
// Self-signatures count however late they were made: exported keys often carry only the newest one,
// which is younger than many of the key's signatures.
func checkPrimary(e *openpgp.Entity, at time.Time) (*packet.Signature, error) {
	if err := checkStrength(e.PrimaryKey); err != nil {
		return nil, err
	}
	for _, r := range e.Revocations {
		if e.PrimaryKey.VerifyRevocationSignature(r.Packet) == nil {
			return nil, fmt.Errorf("%w (%s)", ErrRevoked, fingerprint(e.PrimaryKey))
		}
	}
	self, err := e.PrimarySelfSignature(time.Time{}, config())
	if err != nil {
		return nil, fmt.Errorf("%w: key %s: %w", ErrBadSignature, fingerprint(e.PrimaryKey), err)
	}
	return self, checkPeriod(e.PrimaryKey, primaryExpiry(e, self), at)
}

// checkSigner decides whether pk, which is e's primary key or one of its subkeys, may sign and is
// valid at the given time for a signature made at made.
func checkSigner(e *openpgp.Entity, pk *packet.PublicKey, at, made time.Time) error {
	self, err := checkPrimary(e, at)
	if err != nil {
		return err
	}
	if pk == e.PrimaryKey {
		if self.FlagsValid && !self.FlagSign {
			return fmt.Errorf("%w: key %s may not sign", ErrBadSignature, fingerprint(pk))
		}
		return nil
	}
	for i := range e.Subkeys {
		if sub := &e.Subkeys[i]; sub.PublicKey == pk {
			return checkSubkey(sub, at, made)
		}
	}
	return fmt.Errorf("%w: key %s belongs to no pinned key", ErrBadSignature, fingerprint(pk))
}

// checkSubkey is checkSigner for a subkey. If its owner revoked it because another one has replaced
// it, or because it is no longer used, its earlier signatures remain valid. A revocation for any
// other reason, or without one, invalidates all of its signatures, since a compromised key can
// backdate them.
func checkSubkey(sub *openpgp.Subkey, at, made time.Time) error {
	pk := sub.PublicKey
	if err := checkStrength(pk); err != nil {
		return err
	}
	for _, r := range sub.Revocations {
		if sub.Primary.PrimaryKey.VerifySubkeyRevocationSignature(r.Packet, pk) != nil {
			continue
		}
		if reason := r.Packet.RevocationReason; reason == nil || *reason != packet.KeySuperseded &&
			*reason != packet.KeyRetired ||
			!made.Before(r.Packet.CreationTime) {
			return fmt.Errorf("%w (subkey %s)", ErrRevoked, fingerprint(pk))
		}
	}
	// The library also verifies the subkey's signature over the primary key if the binding lets the
	// subkey sign.
	binding, err := sub.LatestValidBindingSignature(time.Time{}, config())
	if err != nil {
		return fmt.Errorf("%w: subkey %s: %w", ErrBadSignature, fingerprint(pk), err)
	}
	if !binding.FlagsValid || !binding.FlagSign {
		return fmt.Errorf("%w: subkey %s may not sign", ErrBadSignature, fingerprint(pk))
	}
	return checkPeriod(pk, expiry(pk, binding), at)
}

// checkPeriod decides whether at lies in the lifetime of pk.
func checkPeriod(pk *packet.PublicKey, expires, at time.Time) error {
	if pk.CreationTime.After(at.Add(clockSkew)) {
		return fmt.Errorf("%w: key %s is from the future (%s)", ErrBadSignature, fingerprint(pk),
			day(pk.CreationTime))
	}
	if !expires.IsZero() && at.After(expires) {
		return fmt.Errorf("%w: key %s, on %s; ask its owner for the renewed key", ErrExpired,
			fingerprint(pk), day(expires))
	}
	return nil
}

// primaryExpiry returns when the primary key expires: the earlier date of the user's self-signature
// and of a signature directly over the key. Zero means never.
func primaryExpiry(e *openpgp.Entity, self *packet.Signature) time.Time {
	first := expiry(e.PrimaryKey, self)
	if direct, err := e.LatestValidDirectSignature(time.Time{}, config()); err == nil {
		if t := expiry(e.PrimaryKey, direct); first.IsZero() || !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}

// expiry returns when pk expires according to sig. Zero means never.
func expiry(pk *packet.PublicKey, sig *packet.Signature) time.Time {
	if sig.KeyLifetimeSecs == nil || *sig.KeyLifetimeSecs == 0 {
		return time.Time{}
	}
	return pk.CreationTime.Add(time.Duration(*sig.KeyLifetimeSecs) * time.Second).UTC()
}

// checkStrength rejects keys that are broken or soon will be.
func checkStrength(pk *packet.PublicKey) error {
	switch pk.PubKeyAlgo {
	case packet.PubKeyAlgoEdDSA, packet.PubKeyAlgoEd25519, packet.PubKeyAlgoEd448:
		return nil
	case packet.PubKeyAlgoECDSA:
		if curve, err := pk.Curve(); err != nil || curve == packet.CurveSecP256k1 {
			return fmt.Errorf("%w: curve of key %s", ErrWeak, fingerprint(pk))
		}
		return nil
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		bits := rsaBits(pk)
		if bits > maxRSABits {
			return fmt.Errorf("%w: key %s has more than %d bits", ErrBadSignature, fingerprint(pk),
				maxRSABits)
		}
		if bits >= minRSABits {
			return nil
		}
	}
	return fmt.Errorf("%w: key %s is %s; use RSA with %d bits or more, ECDSA, Ed25519 or Ed448",
		ErrWeak, fingerprint(pk), algorithmName(pk), minRSABits)
}

func rsaBits(pk *packet.PublicKey) int {
	if key, ok := pk.PublicKey.(*rsa.PublicKey); ok && key.N != nil {
		return key.N.BitLen()
	}
	return 0
}

// algorithmName returns the common name of a key's algorithm.
func algorithmName(pk *packet.PublicKey) string {
	switch pk.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly, packet.PubKeyAlgoRSAEncryptOnly:
		return fmt.Sprintf("RSA %d", rsaBits(pk))
	case packet.PubKeyAlgoDSA:
		return "DSA"
	case packet.PubKeyAlgoECDSA:
		curve, _ := pk.Curve()
		return "ECDSA " + string(curve)
	case packet.PubKeyAlgoEd25519:
		return "Ed25519"
	case packet.PubKeyAlgoEd448:
		return "Ed448"
	case packet.PubKeyAlgoEdDSA:
		if curve, _ := pk.Curve(); curve == packet.Curve448 {
			return "Ed448"
		}
		return "Ed25519"
	}
	return fmt.Sprintf("OpenPGP algorithm %d", pk.PubKeyAlgo)
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
