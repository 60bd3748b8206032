package pgp_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/lpbuild/lpbuild/internal/pgptest"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
)

func FuzzReadKeys(f *testing.F) {
	for _, kind := range []pgptest.Kind{pgptest.RSA, pgptest.Ed25519, pgptest.ECDSA,
		pgptest.Subkeys, pgptest.DSA, pgptest.SHA1} {
		key := pgptest.Get(f, kind)
		f.Add(key.Public)
		f.Add(key.GPG(f, nil, "--export"))
	}
	f.Add(pgptest.Get(f, pgptest.RSA).GPG(f, nil, "--export-secret-keys"))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := pgp.ReadKeys(data)
		if err != nil {
			if k != nil || !errors.Is(err, pgp.ErrNoKey) {
				t.Fatal(k, err)
			}
			return
		}
		if len(k.Keys()) == 0 {
			t.Fatal("got neither a key nor an error")
		}
		other := &pgp.Keyring{}
		other.Merge(k)
		other.Merge(k)
		if len(other.Keys()) != len(k.Keys()) {
			t.Fatalf("%d keys became %d", len(k.Keys()), len(other.Keys()))
		}
	})
}

// FuzzVerify never accepts a signature over data that nobody signed.
func FuzzVerify(f *testing.F) {
	rsa, ed := pgptest.Get(f, pgptest.RSA), pgptest.Get(f, pgptest.Ed25519)
	keys := ring(f, pgptest.RSA, pgptest.Ed25519, pgptest.ECDSA, pgptest.Subkeys, pgptest.DSA)
	f.Add(rsa.SignV3(f, message))
	f.Add(rsa.Sign(f, message))
	f.Add(rsa.Sign(f, message, "--armor"))
	f.Add(ed.Sign(f, message))
	f.Add(pgptest.Get(f, pgptest.ECDSA).Sign(f, message))
	f.Add(pgptest.Get(f, pgptest.Subkeys).Sign(f, message))
	f.Add(pgptest.Get(f, pgptest.DSA).Sign(f, message))
	f.Fuzz(func(t *testing.T, sig []byte) {
		for _, p := range []pgp.Policy{{}, {AtSigning: true}} {
			s, err := keys.Verify(sig, bytes.NewReader([]byte("data without a signature")), p)
			if s != nil || !errors.Is(err, pgp.ErrBadSignature) {
				t.Fatal(s, err)
			}
		}
	})
}
