// Package pgp checks detached OpenPGP signatures against pinned keys.
//
// The law it keeps: a signature is good only if a key that a person pinned made it over exactly these bytes, with
// algorithms that hold today, and both key and signature are valid at the time that the [Policy] names. Nothing else is
// ever taken for good: no web of trust, no key servers, no keys that come along with what they signed. Every refusal
// wraps [ErrBadSignature].
//
// Signature packets of version 4 and 6 are read by ProtonMail/go-crypto. Version 3, which SUSE's repositories use and
// that library does not know, is checked here. A pinned key is trusted because it is pinned: its own self-signatures
// state when it expires and which subkeys may sign, and may be made with SHA-1, as many old keys' are. Its revocation
// counts always, also for signatures made before it; that of a subkey, too, unless it was superseded or retired.
//
// Signatures are read strictly. Parts of a packet that no signature covers must hold what they are for and nothing else,
// so that of a good signature no bit can be changed and the signature still be good.
package pgp

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrBadSignature is what every refusal wraps.
var ErrBadSignature = errors.New("bad signature")

// The reasons that callers may tell apart. Each is also an [ErrBadSignature]; a signature that simply does not match
// the data is nothing but that.
var (
	ErrNoSignature = fmt.Errorf("%w: there is none", ErrBadSignature)
	ErrUnknownKey  = fmt.Errorf("%w: not made by a pinned key", ErrBadSignature)
	ErrWeak        = fmt.Errorf("%w: too weak to be trusted", ErrBadSignature)
	ErrExpired     = fmt.Errorf("%w: expired", ErrBadSignature)
	ErrRevoked     = fmt.Errorf("%w: the key is revoked", ErrBadSignature)
)

// ErrNoKey says that a text holds no public key that signatures could be checked with.
var ErrNoKey = errors.New("no usable OpenPGP public key")

// clockSkew is how far in the future a signature may have been made: clocks differ.
const clockSkew = 24 * time.Hour

// Policy says when a key has to be valid. The zero Policy asks for keys that are valid now.
type Policy struct {
	Now time.Time // zero: time.Now()

	// AtSigning accepts keys that have expired since they made the signature, as it must be for packages that were
	// signed years ago. The signature's own expiry is looked at in either case.
	AtSigning bool
}

// now returns the time that p takes for the present.
func (p Policy) now() time.Time {
	if p.Now.IsZero() {
		return time.Now()
	}
	return p.Now
}

// Signature describes a good signature.
type Signature struct {
	Version int       // of the signature packet: 3, 4 or 6
	Key     Key       // the pinned key
	Subkey  string    // fingerprint of the subkey of Key that signed; empty: Key itself did
	Created time.Time // as the signature says
	Hash    string    // "SHA-256", for instance
}

// refusals is why each of several signatures was refused.
type refusals []error

// Error returns all reasons on one line.
func (r refusals) Error() string {
	texts := make([]string, len(r))
	for i, err := range r {
		texts[i] = err.Error()
	}
	return fmt.Sprintf("none of %d signatures is good: %s", len(r), strings.Join(texts, "; "))
}

// Unwrap returns the reasons.
func (r refusals) Unwrap() []error { return r }

// err returns nil, the only reason, or all of them.
func (r refusals) err() error {
	switch len(r) {
	case 0:
		return nil
	case 1:
		return r[0]
	}
	return r
}

// guard turns a panic of the library into *err.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: the OpenPGP library gave up: %v", ErrBadSignature, p)
	}
}
