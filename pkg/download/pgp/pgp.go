// Package pgp verifies detached OpenPGP signatures against pinned keys.
//
// A signature is good only if a pinned key made it over exactly these bytes, with algorithms that
// are secure today, and both key and signature are valid at the time that the [Policy] gives.
// Nothing else counts: no web of trust, no key servers, no keys shipped with the data they signed.
// Every rejection wraps [ErrBadSignature].
//
// ProtonMail/go-crypto reads signature packets of version 4 and 6. This package itself verifies
// those of version 3, which SUSE's repositories use and that library does not support. A pinned key
// is trusted because it is pinned: its own self-signatures state when it expires and which subkeys
// may sign, and may use SHA-1, as those of many old keys do. A revocation of the key invalidates
// all its signatures, including earlier ones; so does that of a subkey, unless it was superseded or
// retired.
//
// Signatures are parsed strictly. Parts of a packet that no signature covers may contain only what
// they are for, so that no bit of a good signature can change without making it bad.
package pgp

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrBadSignature is wrapped by every rejection.
var ErrBadSignature = errors.New("bad signature")

// The reasons that callers may distinguish. Each is also an [ErrBadSignature]; a signature that
// simply does not match the data has no other error.
var (
	ErrNoSignature = fmt.Errorf("%w: there is none", ErrBadSignature)
	ErrUnknownKey  = fmt.Errorf("%w: not made by a pinned key", ErrBadSignature)
	ErrWeak        = fmt.Errorf("%w: too weak to be trusted", ErrBadSignature)
	ErrExpired     = fmt.Errorf("%w: expired", ErrBadSignature)
	ErrRevoked     = fmt.Errorf("%w: the key is revoked", ErrBadSignature)
)

// ErrNoKey means that a text contains no public key that can verify signatures.
var ErrNoKey = errors.New("no usable OpenPGP public key")

// clockSkew is how far in the future a signature may have been made, since clocks differ.
const clockSkew = 24 * time.Hour

// Policy determines when a key has to be valid. The zero Policy requires keys that are valid now.
type Policy struct {
	Now time.Time // zero means time.Now()

	// AtSigning accepts keys that have expired since they made the signature, as is necessary for
	// packages signed years ago. The expiry of the signature itself counts in either case.
	AtSigning bool
}

// now returns the time that p regards as the present.
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
	Subkey  string    // fingerprint of the subkey of Key that signed; "" if Key itself did
	Created time.Time // as the signature states
	Hash    string    // such as "SHA-256"
}

// refusals holds the reasons why several signatures were rejected.
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
		*err = fmt.Errorf("%w: the OpenPGP library panicked: %v", ErrBadSignature, p)
	}
}
