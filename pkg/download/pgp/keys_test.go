package pgp_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/pgptest"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
)

func TestReadKeys(t *testing.T) {
	tests := map[pgptest.Kind]string{
		pgptest.RSA: "RSA 2048", pgptest.Ed25519: "Ed25519", pgptest.ECDSA: "ECDSA P256",
		pgptest.DSA:     "DSA",
		pgptest.Subkeys: "Ed25519", pgptest.Weak: "RSA 1024", pgptest.SHA1: "RSA 2048",
	}
	for kind, algorithm := range tests {
		t.Run(string(kind), func(t *testing.T) {
			key := pgptest.Get(t, kind)
			for _, data := range [][]byte{key.Public, key.GPG(t, nil, "--export")} {
				keys := read(t, data).Keys()
				if len(keys) != 1 {
					t.Fatalf("%d keys", len(keys))
				}
				got := keys[0]
				if got.Fingerprint != key.Fingerprint || got.UserID != key.User ||
					got.Algorithm != algorithm || !got.Expires.IsZero() {
					t.Errorf("got %+v", got)
				}
				if age := time.Since(got.Created); age < -time.Minute || age > time.Hour {
					t.Errorf("made at %s", got.Created)
				}
			}
		})
	}
}

func TestReadKeysExpires(t *testing.T) {
	key := read(t, pgptest.Get(t, pgptest.Expired).Public).Keys()[0]
	if got := key.Expires.Format(time.DateOnly); got != "2020-12-31" {
		t.Errorf("expires %s", got)
	}
}

func TestReadKeysSeveral(t *testing.T) {
	rsa, ed := pgptest.Get(t, pgptest.RSA), pgptest.Get(t, pgptest.Ed25519)
	tests := map[string][]byte{
		"armored, one after another": fmt.Appendf(nil, "SUSE\n\n%s\nand\n%s%s", rsa.Public,
			ed.Public, rsa.Public),
		"binary": append(rsa.GPG(t, nil, "--export"),
			ed.GPG(t, nil, "--export")...),
		"with Windows line ends": bytes.ReplaceAll(append(bytes.Clone(rsa.Public),
			ed.Public...), []byte("\n"), []byte("\r\n")),
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			k := read(t, data)
			keys := k.Keys()
			if len(keys) != 2 || keys[0].Fingerprint != rsa.Fingerprint ||
				keys[1].Fingerprint != ed.Fingerprint {
				t.Errorf("got %v", keys)
			}
			if s := k.String(); !strings.Contains(s, rsa.Fingerprint) ||
				!strings.Contains(s, ed.User) {
				t.Errorf("String() = %q", s)
			}
		})
	}
}

func TestReadKeysBad(t *testing.T) {
	rsa := pgptest.Get(t, pgptest.RSA)
	binary := rsa.GPG(t, nil, "--export")
	tests := map[string]struct {
		data []byte
		want string
	}{
		"nothing":              {nil, "neither binary"},
		"text":                 {[]byte("<html>"), "neither binary"},
		"a signature":          {rsa.Sign(t, message), "this is a signature, not a key"},
		"an armored signature": {rsa.Sign(t, message, "--armor"), "PGP SIGNATURE"},
		"a message":            {rsa.GPG(t, message, "--sign"), "OpenPGP packet"},
		"a secret key":         {rsa.GPG(t, nil, "--export-secret-keys"), "secret key"},
		"an armored secret key": {rsa.GPG(t, nil, "--armor", "--export-secret-keys"),
			"secret key"},
		"with a secret key": {append(bytes.Clone(binary),
			rsa.GPG(t, nil, "--export-secret-keys")...), "secret key"},
		"half a key":             {binary[:len(binary)/2], "unexpected EOF"},
		"armored, cut off":       {rsa.Public[:len(rsa.Public)-40], "without an end line"},
		"too much":               {make([]byte, 4<<20+1), "more than 4194304 bytes"},
		"too many":               {bytes.Repeat(binary, 257), "more than 256 keys"},
		"without self-signature": {withoutSignatures(t, binary), "without any identities"},
		"version 3": {
			[]byte("\x99\x00\x0e\x03\x00\x00\x00\x00\x00\x00\x01\x00\x01\x01\x00\x01\x01"),
			"version 3"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			k, err := pgp.ReadKeys(tc.data)
			if k != nil || !errors.Is(err, pgp.ErrNoKey) ||
				!strings.Contains(err.Error(), tc.want) {
				t.Errorf("ReadKeys = %v, %v; want %q", k, err, tc.want)
			}
		})
	}
}

// withoutSignatures cuts a key off after its user id, the second packet.
func withoutSignatures(t *testing.T, key []byte) []byte {
	t.Helper()
	primary := 3 + int(key[1])<<8 + int(key[2])
	if key[0] != 0x99 || key[primary] != 0xb4 {
		t.Fatalf("packets begin with %#x, %#x", key[0], key[primary])
	}
	return key[:primary+2+int(key[primary+1])]
}

// TestReadKeysForged reads a key whose user id was changed.
func TestReadKeysForged(t *testing.T) {
	data := pgptest.Get(t, pgptest.RSA).GPG(t, nil, "--export")
	if k, err := pgp.ReadKeys(bytes.Replace(data, []byte("@example.com"), []byte("@example.org"),
		1)); k != nil || !errors.Is(err, pgp.ErrNoKey) {
		t.Errorf("got %v, %v", k, err)
	}
}

// TestReadKeysSkips drops unusable keys beside a usable one.
func TestReadKeysSkips(t *testing.T) {
	rsa, ed := pgptest.Get(t, pgptest.RSA).GPG(t, nil, "--export"),
		pgptest.Get(t, pgptest.Ed25519).GPG(t, nil, "--export")
	if keys := read(t, append(withoutSignatures(t, rsa), ed...)).Keys(); len(keys) != 1 ||
		keys[0].Algorithm != "Ed25519" {
		t.Errorf("got %v", keys)
	}
}

// TestMergeProlonged pins an expired key, and then the same key as renewed by its owner.
func TestMergeProlonged(t *testing.T) {
	key := pgptest.Get(t, pgptest.Expired)
	copied := *key
	copied.Home = t.TempDir()
	defer pgptest.StopAgent(copied.Home)
	copied.GPG(t, key.GPG(t, nil, "--export-secret-keys"), "--import")
	copied.GPG(t, nil, "--quick-set-expire", key.Fingerprint, "0")
	prolonged := read(t, copied.GPG(t, nil, "--export"))
	sig := key.Sign(t, message, "--faked-system-time", "20200601T000000")

	for name, k := range map[string]*pgp.Keyring{"prolonged": prolonged,
		"expired and renewed": ring(t, pgptest.Expired)} {
		k.Merge(prolonged)
		if keys := k.Keys(); len(keys) != 1 || !keys[0].Expires.IsZero() {
			t.Errorf("%s: got %+v", name, keys)
		}
		accepted(t, k, sig, pgp.Policy{})
		// The renewed key's only self-signature is younger than what it signed in 2020.
		accepted(t, k, sig, pgp.Policy{AtSigning: true})
	}
}

// TestMergeRevokedSubkey pins a key, and then the same key with its signing subkey revoked.
func TestMergeRevokedSubkey(t *testing.T) {
	key := pgptest.Get(t, pgptest.Subkeys)
	sig := key.Sign(t, message)
	copied := *key
	copied.Home = t.TempDir()
	defer pgptest.StopAgent(copied.Home)
	copied.GPG(t, key.GPG(t, nil, "--export-secret-keys"), "--import")
	// The answers are: which subkey, revoke it, no reason, no text, yes.
	copied.GPG(t, []byte("key 1\nrevkey\ny\n0\n\ny\nsave\n"), "--command-fd", "0", "--no-batch",
		"--edit-key", key.Fingerprint)
	k := ring(t, pgptest.Subkeys)
	accepted(t, k, sig, pgp.Policy{})
	k.Merge(read(t, copied.GPG(t, nil, "--export")))
	refused(t, k, sig, pgp.Policy{AtSigning: true}, pgp.ErrRevoked, "subkey")
}

func TestMergeDoesNotShare(t *testing.T) {
	one := ring(t, pgptest.RSA)
	all := &pgp.Keyring{}
	all.Merge(nil)
	all.Merge(one)
	all.Merge(ring(t, pgptest.Ed25519))
	all.Merge(one)
	if len(all.Keys()) != 2 || len(one.Keys()) != 1 {
		t.Errorf("%d and %d keys", len(all.Keys()), len(one.Keys()))
	}
}

// TestRevokedSubkey has subkeys that will be revoked for different reasons in an hour. Earlier
// signatures by a superseded or retired one stay good, for packages and metadata alike.
func TestRevokedSubkey(t *testing.T) {
	key := pgptest.Get(t, pgptest.Subkeys)
	at := func(hours int) string {
		return time.Now().UTC().Add(time.Duration(hours) * time.Hour).Format("20060102T150405")
	}
	before := key.Sign(t, message)
	after := key.Sign(t, message, "--faked-system-time", at(2))
	for _, tc := range []struct {
		reason, answer string
		keeps          bool
	}{
		{"none", "0", false}, {"compromised", "1", false}, {"superseded", "2", true},
		{"no longer used", "3", true},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			copied := *key
			copied.Home = t.TempDir()
			defer pgptest.StopAgent(copied.Home)
			copied.GPG(t, key.GPG(t, nil, "--export-secret-keys"), "--import")
			revoke := func(answer string, hours int) *pgp.Keyring {
				script := "key 1\nrevkey\ny\n" + answer + "\n\ny\nsave\n"
				copied.GPG(t, []byte(script), "--command-fd", "0", "--no-batch",
					"--faked-system-time", at(hours), "--edit-key", key.Fingerprint)
				return read(t, copied.GPG(t, nil, "--export"))
			}
			k := revoke(tc.answer, 1)
			for _, p := range []pgp.Policy{{}, {AtSigning: true}} {
				refused(t, k, after, p, pgp.ErrRevoked, "subkey")
				if tc.keeps {
					accepted(t, k, before, p)
				} else {
					refused(t, k, before, p, pgp.ErrRevoked, "subkey")
				}
			}
		})
	}
}

// TestRevokedTwice has a subkey that was superseded and, as its owner found out later, compromised.
func TestRevokedTwice(t *testing.T) {
	key := pgptest.Get(t, pgptest.Subkeys)
	sig := key.Sign(t, message)
	all := &pgp.Keyring{}
	for _, answer := range []string{"2", "1"} {
		copied := *key
		copied.Home = t.TempDir()
		defer pgptest.StopAgent(copied.Home)
		copied.GPG(t, key.GPG(t, nil, "--export-secret-keys"), "--import")
		time.Sleep(1100 * time.Millisecond) // signatures have a resolution of seconds
		copied.GPG(t, []byte("key 1\nrevkey\ny\n"+answer+"\n\ny\nsave\n"), "--command-fd", "0",
			"--no-batch", "--edit-key", key.Fingerprint)
		all.Merge(read(t, copied.GPG(t, nil, "--export")))
		if answer == "2" {
			accepted(t, all, sig, pgp.Policy{AtSigning: true})
		}
	}
	refused(t, all, sig, pgp.Policy{AtSigning: true}, pgp.ErrRevoked, "subkey")
}
