// Package digest identifies content by an algorithm and its value, in the form that repositories
// use.
//
// It knows only algorithms that are still considered secure. [New] returns [ErrWeak] for others, so
// a repository that offers nothing but MD5 or SHA-1 is rejected when its metadata are read.
package digest

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/lpbuild/lpbuild/internal/regularfile"
)

// ErrWeak means that a digest's algorithm is not, or not yet, trusted.
var ErrWeak = errors.New("digest algorithm is not trusted")

// ErrMismatch means that content does not have the expected digest.
var ErrMismatch = errors.New("digest mismatch")

// Digest identifies content. The zero Digest identifies nothing.
type Digest struct {
	Algorithm string // "sha224", "sha256", "sha384" or "sha512"
	Hex       string // lower case
}

var sizes = map[string]int{"sha224": sha256.Size224, "sha256": sha256.Size,
	"sha384": sha512.Size384, "sha512": sha512.Size}

// New returns the digest with the given algorithm, in any case, and value.
func New(algorithm, value string) (Digest, error) {
	algorithm = strings.ToLower(strings.TrimSpace(algorithm))
	size, known := sizes[algorithm]
	if !known {
		return Digest{}, fmt.Errorf("%q: %w", algorithm, ErrWeak)
	}
	value = strings.ToLower(strings.TrimSpace(value))
	if raw, err := hex.DecodeString(value); err != nil || len(raw) != size {
		return Digest{}, fmt.Errorf("%s digest %.80q is not %d hexadecimal bytes", algorithm, value,
			size)
	}
	return Digest{algorithm, value}, nil
}

// Parse parses the form that [Digest.String] returns.
func Parse(s string) (Digest, error) {
	algorithm, value, found := strings.Cut(s, ":")
	if !found {
		return Digest{}, fmt.Errorf("digest %.80q has no \"algorithm:\" before it", s)
	}
	return New(algorithm, value)
}

// String returns "sha256:0123…".
func (d Digest) String() string { return d.Algorithm + ":" + d.Hex }

// IsZero reports whether d identifies nothing.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText encodes a Digest as a string, as in JSON.
func (d Digest) MarshalText() ([]byte, error) {
	if d.IsZero() {
		return nil, nil
	}
	return []byte(d.String()), nil
}

// UnmarshalText decodes the form that MarshalText returns.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Digest{}
		return nil
	}
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// Hash returns a new hash with d's algorithm. It panics on the zero Digest, which is a programming
// error.
func (d Digest) Hash() hash.Hash {
	switch d.Algorithm {
	case "sha224":
		return sha256.New224()
	case "sha256":
		return sha256.New()
	case "sha384":
		return sha512.New384()
	case "sha512":
		return sha512.New()
	}
	panic("digest: Hash called for an unknown algorithm " + d.Algorithm)
}

// Check returns an error that wraps [ErrMismatch] unless sum is d's value.
func (d Digest) Check(sum []byte) error {
	if got := hex.EncodeToString(sum); got != d.Hex {
		return fmt.Errorf("%w: want %s, have %s:%s", ErrMismatch, d, d.Algorithm, got)
	}
	return nil
}

// OfBytes returns the SHA-256 digest of data.
func OfBytes(data []byte) Digest {
	sum := sha256.Sum256(data)
	return Digest{"sha256", hex.EncodeToString(sum[:])}
}

// OfStrings returns the SHA-256 in hexadecimal of strings, none of which can run into the next.
func OfStrings(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "%d:%s", len(p), p)
	}
	return OfBytes([]byte(b.String())).Hex
}

// ofReader returns the SHA-256 digest of the rest of r.
func ofReader(r io.Reader) (Digest, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return Digest{}, err
	}
	return Digest{"sha256", hex.EncodeToString(h.Sum(nil))}, nil
}

// OfFile returns the SHA-256 digest of a file's content.
func OfFile(name string) (Digest, error) {
	f, _, err := regularfile.Open(name)
	if err != nil {
		return Digest{}, err
	}
	defer f.Close()
	return ofReader(f)
}
