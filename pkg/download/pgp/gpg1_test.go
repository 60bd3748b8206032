package pgp_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/distro"
	"github.com/lpbuild/lpbuild/internal/pgptest"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
)

// TestVerifyStoredV3 accepts stored signatures by gpg1 --force-v3-sigs, also on machines without
// gpg1.
func TestVerifyStoredV3(t *testing.T) {
	stored := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join("testdata", "gpg1", name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	keys, signed := read(t, stored("key.asc")), stored("message")
	then := pgp.Policy{Now: at("2026-12-01")}
	for name, hash := range map[string]string{
		"message.sha256.sig": "SHA-256", "message.sha256.asc": "SHA-256",
		"message.sha384.sig": "SHA-384", "message.sha512.sig": "SHA-512",
	} {
		sig := stored(name)
		s, err := keys.Verify(sig, bytes.NewReader(signed), then)
		if err != nil || s.Version != 3 || s.Hash != hash || s.Key.Algorithm != "RSA 2048" {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
		if s, err := keys.Verify(sig, bytes.NewReader(append(bytes.Clone(signed), '\n')),
			then); err == nil {
			t.Errorf("%s is accepted for other data: %+v", name, s)
		}
		refused(t, ring(t, pgptest.RSA), sig, then, pgp.ErrUnknownKey)
	}
}

// TestSignPacketV3 compares the replacement for gpg1 with gpg1: equal bytes at equal times.
func TestSignPacketV3(t *testing.T) {
	if err := distro.CanSignV3(); err != nil {
		t.Skip(err)
	}
	key := pgptest.Get(t, pgptest.RSA)
	for _, hash := range []string{"SHA256", "SHA512", "SHA1", "MD5"} {
		want := key.SignV3(t, message, "--digest-algo", hash)
		date := time.Unix(int64(binary.BigEndian.Uint32(want[6:])), 0)
		if got := pgptest.SignPacketV3(t, key.Secret(t), pgptest.PacketV3{Hash: hash, Date: date},
			message); !bytes.Equal(got, want) {
			t.Errorf("%s: made here\n%x, by gpg1\n%x", hash, got, want)
		}
	}
}
