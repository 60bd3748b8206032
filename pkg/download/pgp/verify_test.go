package pgp_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/lpbuild/lpbuild/internal/pgptest"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
)

func TestVerifyGood(t *testing.T) {
	rsa, ed := pgptest.Get(t, pgptest.RSA), pgptest.Get(t, pgptest.Ed25519)
	ecdsa, sha1 := pgptest.Get(t, pgptest.ECDSA), pgptest.Get(t, pgptest.SHA1)
	tests := map[string]struct {
		key     *pgptest.Key
		sig     []byte
		version int
		hash    string
	}{
		"RSA, version 4": {rsa, rsa.Sign(t, message), 4, "SHA-512"},
		"RSA, version 3": {rsa, rsa.SignV3(t, message), 3, "SHA-256"},
		"RSA, version 3, SHA-512": {rsa, rsa.SignV3(t, message, "--digest-algo", "SHA512"), 3,
			"SHA-512"},
		"RSA, version 3, armored": {rsa, rsa.SignV3(t, message, "--armor"), 3, "SHA-256"},
		"RSA, version 4, armored": {rsa, rsa.Sign(t, message, "--armor", "--digest-algo",
			"SHA256"), 4, "SHA-256"},
		"RSA, version 4, gpg1": {rsa, rsa.SignV3(t, message, "--no-force-v3-sigs"), 4,
			"SHA-256"},
		"Ed25519":                    {ed, ed.Sign(t, message), 4, "SHA-256"},
		"ECDSA":                      {ecdsa, ecdsa.Sign(t, message), 4, "SHA-256"},
		"key self-signed with SHA-1": {sha1, sha1.Sign(t, message), 4, "SHA-512"},
		"with a comment in the armor": {rsa, rsa.Sign(t, message, "--armor", "--comment", "SUSE"),
			4, "SHA-512"},
		"that expires in a year": {rsa, rsa.Sign(t, message, "--default-sig-expire", "1y"), 4,
			"SHA-512"},
		"with an uncritical notation": {rsa,
			rsa.Sign(t, message, "--sig-notation", "a@example.com=b"), 4, "SHA-512"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := accepted(t, ring(t, pgptest.OtherRSA, tc.key.Kind), tc.sig, pgp.Policy{})
			if s.Version != tc.version || s.Hash != tc.hash ||
				s.Key.Fingerprint != tc.key.Fingerprint || s.Subkey != "" {
				t.Errorf("got %+v", s)
			}
			if age := time.Since(s.Created); age < -time.Minute || age > time.Hour {
				t.Errorf("made at %s", s.Created)
			}
			other := append(bytes.Clone(message), '.')
			if _, err := ring(t, tc.key.Kind).Verify(tc.sig, bytes.NewReader(other),
				pgp.Policy{}); !errors.Is(err, pgp.ErrBadSignature) {
				t.Errorf("other data: %v", err)
			}
			refused(t, ring(t, pgptest.OtherRSA), tc.sig, pgp.Policy{}, pgp.ErrUnknownKey,
				tc.key.Fingerprint[24:],
				pgptest.Get(t, pgptest.OtherRSA).Fingerprint, "pin it")
		})
	}
}

// TestVerifyEd25519Often would meet values with leading zeros, whose length is encoded in different
// ways.
func TestVerifyEd25519Often(t *testing.T) {
	ed := pgptest.Get(t, pgptest.Ed25519)
	for range 20 {
		accepted(t, ring(t, pgptest.Ed25519), ed.Sign(t, message), pgp.Policy{})
	}
}

func TestVerifySubkey(t *testing.T) {
	key := pgptest.Get(t, pgptest.Subkeys)
	s := accepted(t, ring(t, pgptest.Subkeys), key.Sign(t, message), pgp.Policy{})
	if s.Key.Fingerprint != key.Fingerprint || len(s.Subkey) != 40 || s.Subkey == key.Fingerprint {
		t.Errorf("got %+v", s)
	}
}

func TestVerifyNothingPinned(t *testing.T) {
	sig := pgptest.Get(t, pgptest.RSA).Sign(t, message)
	refused(t, nil, sig, pgp.Policy{}, pgp.ErrUnknownKey, "no key is pinned")
	refused(t, &pgp.Keyring{}, sig, pgp.Policy{}, pgp.ErrUnknownKey, "no key is pinned")
}

func TestVerifyNoSignature(t *testing.T) {
	for _, sig := range []string{"", " \n"} {
		refused(t, ring(t, pgptest.RSA), []byte(sig), pgp.Policy{}, pgp.ErrNoSignature)
	}
}

func TestVerifyNotASignature(t *testing.T) {
	key := pgptest.Get(t, pgptest.RSA)
	good := key.Sign(t, message)
	tests := map[string][]byte{
		"text":                         []byte("<html>404</html>"),
		"a key":                        key.GPG(t, nil, "--export"),
		"an armored key":               key.Public,
		"a message with its signature": key.GPG(t, message, "--sign"),
		"a clear-signed message":       key.GPG(t, message, "--clearsign"),
		"over a text":                  key.GPG(t, message, "--textmode", "--detach-sign"),
		"a good one and garbage":       append(bytes.Clone(good), "garbage"...),
		"a good one and half a packet": append(bytes.Clone(good), good[:10]...),
		"too many":                     bytes.Repeat(good, 33),
		"too long":                     bytes.Repeat(good, 1000),
		"armored, cut off":             key.Sign(t, message, "--armor")[:200],
		"armored, with an error": bytes.Replace(key.Sign(t, message, "--armor"), []byte("\n\ni"),
			[]byte("\n\n!"), 1),
	}
	for name, sig := range tests {
		t.Run(name, func(t *testing.T) {
			refused(t, ring(t, pgptest.RSA), sig, pgp.Policy{}, pgp.ErrBadSignature)
		})
	}
}

// TestVerifyOneOfSeveral has two signatures, as of a repository that is changing its key, and pins
// one of the keys.
func TestVerifyOneOfSeveral(t *testing.T) {
	one, two := pgptest.Get(t, pgptest.RSA), pgptest.Get(t, pgptest.OtherRSA)
	both := append(one.SignV3(t, message), two.Sign(t, message)...)
	for _, kind := range []pgptest.Kind{pgptest.RSA, pgptest.OtherRSA} {
		if s := accepted(t, ring(t, kind), both, pgp.Policy{}); s.Key.Fingerprint != pgptest.Get(t,
			kind).Fingerprint {
			t.Errorf("%s: got %+v", kind, s)
		}
	}
	armored := append(one.Sign(t, message, "--armor"), two.Sign(t, message, "--armor")...)
	accepted(t, ring(t, pgptest.OtherRSA), armored, pgp.Policy{})

	spoilt := append(one.Sign(t, []byte("other")), two.Sign(t, message)...)
	accepted(t, ring(t, pgptest.RSA, pgptest.OtherRSA), spoilt, pgp.Policy{})
	refused(t, ring(t, pgptest.RSA), spoilt, pgp.Policy{}, pgp.ErrUnknownKey,
		"none of 2 signatures")
}

func TestVerifyWeak(t *testing.T) {
	rsa, small, dsa := pgptest.Get(t, pgptest.RSA), pgptest.Get(t, pgptest.Weak),
		pgptest.Get(t, pgptest.DSA)
	keys := ring(t, pgptest.RSA, pgptest.Weak, pgptest.DSA)
	refused(t, keys, rsa.Sign(t, message, "--digest-algo", "SHA1"), pgp.Policy{}, pgp.ErrWeak,
		"SHA-1")
	refused(t, keys, rsa.SignV3(t, message, "--digest-algo", "SHA1"), pgp.Policy{}, pgp.ErrWeak,
		"SHA-1")
	refused(t, keys, rsa.SignV3(t, message, "--digest-algo", "MD5"), pgp.Policy{}, pgp.ErrWeak,
		"MD5")
	refused(t, keys, rsa.SignV3(t, message, "--digest-algo", "RIPEMD160"), pgp.Policy{},
		pgp.ErrWeak, "RIPEMD")
	refused(t, keys, small.Sign(t, message, "--digest-algo", "SHA256"), pgp.Policy{}, pgp.ErrWeak,
		"RSA 1024", "2048")
	refused(t, keys, small.SignV3(t, message), pgp.Policy{}, pgp.ErrWeak, "RSA 1024")
	refused(t, keys, dsa.Sign(t, message, "--digest-algo", "SHA256"), pgp.Policy{}, pgp.ErrWeak,
		"DSA")
}

func TestVerifyExpiredKey(t *testing.T) {
	key := pgptest.Get(t, pgptest.Expired)
	sigs := map[string][]byte{
		"version 4": key.Sign(t, message, "--faked-system-time", "20200601T000000"),
		"version 3": withDate(t, key, at("2020-06-01")),
	}
	for name, sig := range sigs {
		t.Run(name, func(t *testing.T) {
			keys := ring(t, pgptest.Expired)
			refused(t, keys, sig, pgp.Policy{}, pgp.ErrExpired, key.Fingerprint, "2020-12-31")
			accepted(t, keys, sig, pgp.Policy{AtSigning: true})
			accepted(t, keys, sig, pgp.Policy{Now: at("2020-07-01")})
		})
	}
}

// withDate returns a version 3 signature by key dated to that day. gpg1 cannot fake the time for
// signing with an expired key, so it is made here from the secret key.
func withDate(t *testing.T, key *pgptest.Key, day time.Time) []byte {
	t.Helper()
	return signV3(t, key.Secret(t), 0x00, day, message)
}

func TestVerifySignedAfterExpiry(t *testing.T) {
	key := pgptest.Get(t, pgptest.Expired)
	sig := withDate(t, key, at("2021-06-01"))
	refused(t, ring(t, pgptest.Expired), sig, pgp.Policy{AtSigning: true}, pgp.ErrExpired)
	refused(t, ring(t, pgptest.Expired), sig, pgp.Policy{Now: at("2020-05-31").AddDate(1, 0, 0),
		AtSigning: true}, pgp.ErrExpired)
}

func TestVerifyTimes(t *testing.T) {
	key := pgptest.Get(t, pgptest.RSA)
	keys := ring(t, pgptest.RSA)
	now := time.Now()
	sig := key.Sign(t, message)
	accepted(t, keys, sig, pgp.Policy{Now: now.Add(-23 * time.Hour)})
	refused(t, keys, sig, pgp.Policy{Now: now.Add(-25 * time.Hour)}, pgp.ErrBadSignature, "future",
		"clock")
	old := withDate(t, key, at("2020-06-01"))
	refused(t, keys, old, pgp.Policy{}, pgp.ErrBadSignature, "older than its key")
	expiring := key.Sign(t, message, "--default-sig-expire", "1d")
	accepted(t, keys, expiring, pgp.Policy{Now: now.Add(23 * time.Hour)})
	for _, atSigning := range []bool{false, true} {
		refused(t, keys, expiring, pgp.Policy{Now: now.Add(25 * time.Hour), AtSigning: atSigning},
			pgp.ErrExpired, "the signature")
	}
}

func TestVerifyRevoked(t *testing.T) {
	key := pgptest.Get(t, pgptest.Ed25519)
	sig := key.Sign(t, message)
	revoked := revokedCopy(t, key)
	for _, p := range []pgp.Policy{{}, {AtSigning: true}} {
		refused(t, revoked, sig, p, pgp.ErrRevoked, key.Fingerprint)
	}
	merged := ring(t, pgptest.Ed25519)
	merged.Merge(revoked)
	refused(t, merged, sig, pgp.Policy{}, pgp.ErrRevoked)
	if n := len(merged.Keys()); n != 1 {
		t.Errorf("%d keys after merging two copies of one", n)
	}
}

// revokedCopy returns key as its owner publishes it after revoking it.
func revokedCopy(t *testing.T, key *pgptest.Key) *pgp.Keyring {
	t.Helper()
	copied := *key
	copied.Home = t.TempDir()
	defer pgptest.StopAgent(copied.Home)
	copied.GPG(t, key.Public, "--import")
	copied.GPG(t, key.Revocation(t), "--import")
	return read(t, copied.GPG(t, nil, "--export"))
}

func TestVerifyNotForSigning(t *testing.T) {
	key := pgptest.Get(t, pgptest.Encrypts)
	sig := signV3(t, key.Secret(t), 0x00, time.Now(), message)
	refused(t, ring(t, pgptest.Encrypts), sig, pgp.Policy{}, pgp.ErrBadSignature, "may not sign")
}

func TestVerifyCriticalNotation(t *testing.T) {
	sig := pgptest.Get(t, pgptest.RSA).Sign(t, message, "--sig-notation",
		"!only-on-mondays@example.com=yes")
	refused(t, ring(t, pgptest.RSA), sig, pgp.Policy{}, pgp.ErrBadSignature, "only-on-mondays")
}

// TestVerifyReadError distinguishes a broken disk from a bad signature, and does not read data that
// no pinned key could have signed.
func TestVerifyReadError(t *testing.T) {
	sig := pgptest.Get(t, pgptest.RSA).Sign(t, message)
	broken := errors.New("input/output error")
	signed := io.MultiReader(strings.NewReader("repomd"), iotest.ErrReader(broken))
	if _, err := ring(t, pgptest.RSA).Verify(sig, signed, pgp.Policy{}); !errors.Is(err, broken) ||
		errors.Is(err, pgp.ErrBadSignature) {
		t.Errorf("got %v", err)
	}
	if _, err := ring(t, pgptest.OtherRSA).Verify(sig, iotest.ErrReader(broken),
		pgp.Policy{}); !errors.Is(err, pgp.ErrUnknownKey) {
		t.Errorf("got %v", err)
	}
}

// TestVerifyFlips changes every bit of a signature.
func TestVerifyFlips(t *testing.T) {
	rsa, ed := pgptest.Get(t, pgptest.RSA), pgptest.Get(t, pgptest.Ed25519)
	sigs := map[string][]byte{
		"version 3":       rsa.SignV3(t, message),
		"version 4":       rsa.Sign(t, message),
		"version 4, gpg1": rsa.SignV3(t, message, "--no-force-v3-sigs"),
		"Ed25519":         ed.Sign(t, message),
		"version 6":       newV6(t).sign(t, message),
	}
	keys := ring(t, pgptest.RSA, pgptest.Ed25519)
	keys.Merge(read(t, newV6(t).public(t)))
	for name, sig := range sigs {
		t.Run(name, func(t *testing.T) {
			accepted(t, keys, sig, pgp.Policy{})
			for i := range sig {
				for bit := range 8 {
					bad := bytes.Clone(sig)
					bad[i] ^= 1 << bit
					refused(t, keys, bad, pgp.Policy{}, pgp.ErrBadSignature)
				}
				bad := bytes.Clone(sig)
				bad[i] ^= 0xff
				refused(t, keys, bad, pgp.Policy{}, pgp.ErrBadSignature)
			}
		})
	}
}

func TestVerifyTruncated(t *testing.T) {
	key := pgptest.Get(t, pgptest.RSA)
	for _, sig := range [][]byte{key.SignV3(t, message), key.Sign(t, message)} {
		for n := range sig {
			refused(t, ring(t, pgptest.RSA), sig[:n], pgp.Policy{}, pgp.ErrBadSignature)
		}
	}
}

func TestVerifyV6(t *testing.T) {
	key := newV6(t)
	keys := read(t, key.public(t))
	s := accepted(t, keys, key.sign(t, message), pgp.Policy{})
	if s.Version != 6 || len(s.Key.Fingerprint) != 64 || s.Key.Algorithm != "Ed25519" {
		t.Errorf("got %+v", s)
	}
}

func TestVerifyAtOnce(t *testing.T) {
	keys := ring(t, pgptest.RSA, pgptest.Subkeys)
	sigs := [][]byte{
		pgptest.Get(t, pgptest.RSA).SignV3(t, message), pgptest.Get(t, pgptest.RSA).Sign(t,
			message),
		pgptest.Get(t, pgptest.Subkeys).Sign(t, message),
	}
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			if _, err := keys.Verify(sigs[i%len(sigs)], bytes.NewReader(message),
				pgp.Policy{AtSigning: i%2 == 0}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
