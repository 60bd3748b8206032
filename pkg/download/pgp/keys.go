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

// Bounds of one ReadKeys. The keyring of a whole distribution has less.
const (
	maxKeyData = 4 << 20
	maxKeys    = 256
)

// Key describes a pinned key.
type Key struct {
	Fingerprint string // upper-case hexadecimal: 40 digits, or 64 for a version 6 key
	UserID      string // as the key's owner wrote it; not to be trusted any more than the key
	Created     time.Time
	Expires     time.Time // zero: never
	Algorithm   string    // "RSA 4096", "Ed25519"
}

// String returns the fingerprint and the user.
func (k Key) String() string { return fmt.Sprintf("%s %q", k.Fingerprint, k.UserID) }

// Keyring holds pinned keys. The zero Keyring and a nil one hold none. It may be used by several goroutines as long as
// none of them merges keys into it.
type Keyring struct {
	keys []*pinned
}

// pinned is one primary key with all that belongs to it.
//
// It is kept as bytes and parsed whenever it is needed: go-crypto keeps in a parsed key what it found out about its
// signatures, which depends on the date that was asked for, and is not safe for several goroutines.
type pinned struct {
	Key
	copies [][]byte // the same key as found in several places, which may differ in subkeys, expiry, revocation
	ids    []uint64 // of the primary key and its subkeys
}

// ReadKeys reads public keys, binary or armored, one or several, also several armored blocks in one text.
//
// Keys that cannot be used (version 3, encryption only, no valid self-signature) are left out; if none is left, or if
// data hold a secret key, more than 4 MiB or more than 256 keys, there is an error.
func ReadKeys(data []byte) (k *Keyring, err error) {
	defer func() {
		if p := recover(); p != nil {
			k, err = nil, fmt.Errorf("%w: the OpenPGP library gave up: %v", ErrNoKey, p)
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

// cutKey returns the bytes of the primary key that packets begin with and of all that follows up to the next one.
func cutKey(packets []rawPacket) (blob []byte, rest []rawPacket, err error) {
	switch packets[0].tag {
	case tagPublicKey:
	case tagSecretKey:
		return nil, nil, errSecretKey
	case tagSignature:
		return nil, nil, errors.New("this is a signature")
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
	if checkStrength(e.PrimaryKey) != nil { // kept, so that its signatures are refused for the right reason
		for name := range e.Identities {
			p.UserID = max(p.UserID, name)
		}
		return p, nil
	}
	return p, p.describe(e)
}

// describe takes over what the key's self-signatures say.
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

// add puts p into k, or what p knows into the same key in k.
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
		return // cannot be: each copy was read before
	}
	p.collectIDs(e)
	if checkStrength(e.PrimaryKey) == nil {
		_ = p.describe(e) // each copy had a valid self-signature
	}
}

// Keys returns what is pinned, in the order of reading.
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

// Merge pins all keys of other as well. Of a key that both hold, subkeys, expiry dates and revocations are put together.
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
