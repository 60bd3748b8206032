package pgp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Bounds of one ReadKeys. The keyring of a whole distribution is smaller.
const (
	maxKeyData = 4 << 20
	maxKeys    = 256
)

// Key describes a pinned key.
type Key struct {
	Fingerprint string // upper-case hexadecimal: 40 digits, or 64 for a version 6 key
	UserID      string // as the key's owner wrote it; no more trustworthy than the key
	Created     time.Time
	Expires     time.Time // zero means never
	Algorithm   string    // "RSA 4096", "Ed25519"
}

// String returns the fingerprint and the user.
func (k Key) String() string { return fmt.Sprintf("%s %q", k.Fingerprint, k.UserID) }

// Keyring holds pinned keys. The zero Keyring and a nil one hold none. Several goroutines may use
// it as long as none of them merges keys into it.
type Keyring struct {
	keys []*pinned
}

// pinned is one primary key with its subkeys and signatures.
//
// It is kept as bytes and parsed whenever it is needed: go-crypto caches in a parsed key which of
// its signatures are valid, which depends on the date asked about and is not safe for concurrent
// use.
type pinned struct {
	Key
	// copies of the key from several places, which may differ in subkeys, expiry, revocation
	copies [][]byte
	ids    []uint64 // ids of the primary key and its subkeys
}

// ReadKeys reads public keys, binary or armored, one or several, including several armored blocks
// in one text.
//
// It drops keys that cannot be used (version 3, encryption only, no valid self-signature). It fails
// if none is left, or if data contain a secret key, more than 4 MiB or more than 256 keys.
func ReadKeys(data []byte) (k *Keyring, err error) {
	defer func() {
		if p := recover(); p != nil {
			k, err = nil, fmt.Errorf("%w: the OpenPGP library panicked: %v", ErrNoKey, p)
		}
	}()
	if len(data) > maxKeyData {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrNoKey, maxKeyData)
	}
	data, err = dearmor(data, labelPublicKey)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoKey, err)
	}
	packets, err := splitPackets(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoKey, err)
	}
	k = &Keyring{}
	var skipped error
	for n := 0; len(packets) > 0; n++ {
		if n == maxKeys {
			return nil, fmt.Errorf("%w: more than %d keys", ErrNoKey, maxKeys)
		}
		var blob []byte
		if blob, packets, err = cutKey(packets); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoKey, err)
		}
		p, err := newPinned(blob)
		if err != nil {
			skipped = errors.Join(skipped, err)
			continue
		}
		k.add(p)
	}
	if len(k.keys) == 0 {
		return nil, fmt.Errorf("%w: %w", ErrNoKey, skipped)
	}
	return k, nil
}

// cutKey returns the bytes of the primary key at the start of packets and of everything up to the
// next one.
func cutKey(packets []rawPacket) (blob []byte, rest []rawPacket, err error) {
	switch packets[0].tag {
	case tagPublicKey:
	case tagSecretKey:
		return nil, nil, errSecretKey
	case tagSignature:
		return nil, nil, errors.New("this is a signature, not a key")
	default:
		return nil, nil, fmt.Errorf("begins with an OpenPGP packet of type %d", packets[0].tag)
	}
	for i, p := range packets {
		switch {
		case p.tag == tagSecretKey, p.tag == tagSecretSubkey:
			return nil, nil, errSecretKey
		case p.tag == tagPublicKey && i > 0:
			return blob, packets[i:], nil
		}
		blob = append(blob, p.raw...)
	}
	return blob, nil, nil
}

// newPinned reads one key.
func newPinned(blob []byte) (*pinned, error) {
	e, err := readEntity(blob)
	if err != nil {
		return nil, err
	}
	p := &pinned{copies: [][]byte{blob}, Key: Key{
		Fingerprint: fingerprint(e.PrimaryKey),
		Created:     e.PrimaryKey.CreationTime.UTC(),
		Algorithm:   algorithmName(e.PrimaryKey),
	}}
	p.collectIDs(e)
	// kept, so that its signatures are rejected for the right reason
	if checkStrength(e.PrimaryKey) != nil {
		for name := range e.Identities {
			p.UserID = max(p.UserID, name)
		}
		return p, nil
	}
	return p, p.describe(e)
}

// describe copies what the key's self-signatures state.
func (p *pinned) describe(e *openpgp.Entity) error {
	self, err := e.PrimarySelfSignature(time.Time{}, config())
	if err != nil {
		return fmt.Errorf("key %s: %w", p.Fingerprint, err)
	}
	if _, id := e.PrimaryIdentity(time.Time{}, config()); id != nil {
		p.UserID = id.Name
	}
	p.Expires = primaryExpiry(e, self)
	return nil
}

func (p *pinned) collectIDs(e *openpgp.Entity) {
	p.ids = append(p.ids, e.PrimaryKey.KeyId)
	for _, s := range e.Subkeys {
		p.ids = append(p.ids, s.PublicKey.KeyId)
	}
	slices.Sort(p.ids)
	p.ids = slices.Compact(p.ids)
}

// add adds p to k, or merges it into the same key in k.
func (k *Keyring) add(p *pinned) {
	for _, own := range k.keys {
		if own.Fingerprint == p.Fingerprint {
			own.absorb(p)
			return
		}
	}
	k.keys = append(k.keys, p)
}

// absorb adds another copy of the same key.
func (p *pinned) absorb(other *pinned) {
	for _, blob := range other.copies {
		if !slices.ContainsFunc(p.copies, func(own []byte) bool { return bytes.Equal(own, blob) }) {
			p.copies = append(p.copies, blob)
		}
	}
	e, err := p.entity()
	if err != nil {
		return // impossible: each copy was read before
	}
	p.collectIDs(e)
	if checkStrength(e.PrimaryKey) == nil {
		_ = p.describe(e) // each copy had a valid self-signature
	}
}

// entity parses all copies of the key into one.
func (p *pinned) entity() (*openpgp.Entity, error) {
	all, err := readEntity(p.copies[0])
	if err != nil {
		return nil, err
	}
	for _, blob := range p.copies[1:] {
		e, err := readEntity(blob)
		if err != nil {
			return nil, err
		}
		mergeEntity(all, e)
	}
	return all, nil
}

// Keys returns the pinned keys, in the order in which they were read.
func (k *Keyring) Keys() []Key {
	if k == nil {
		return nil
	}
	keys := make([]Key, len(k.keys))
	for i, p := range k.keys {
		keys[i] = p.Key
	}
	return keys
}

// Merge pins all keys of other as well. If both hold a key, its subkeys, expiry dates and
// revocations are combined.
func (k *Keyring) Merge(other *Keyring) {
	if other == nil {
		return
	}
	for _, p := range other.keys {
		mine := *p
		mine.copies, mine.ids = slices.Clone(p.copies), slices.Clone(p.ids)
		k.add(&mine)
	}
}

// String returns the pinned keys on one line, for messages.
func (k *Keyring) String() string {
	keys := k.Keys()
	if len(keys) == 0 {
		return "no key is pinned"
	}
	const most = 8
	var b strings.Builder
	b.WriteString("pinned: ")
	for i, key := range keys[:min(len(keys), most)] {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %.80q", key.Fingerprint, key.UserID)
	}
	if len(keys) > most {
		fmt.Fprintf(&b, " and %d more", len(keys)-most)
	}
	return b.String()
}

func fingerprint(pk *packet.PublicKey) string {
	return strings.ToUpper(hex.EncodeToString(pk.Fingerprint))
}
