package pgptest

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/bits"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/lpbuild/lpbuild/internal/distro"
)

// SignV3 returns a detached signature of version 3 by an RSA key, binary and with SHA-256 unless
// args, which are options of gpg1, say otherwise.
func (k *Key) SignV3(tb testing.TB, data []byte, args ...string) []byte {
	tb.Helper()
	if distro.CanSignV3() != nil {
		return k.signWithout1(tb, data, args)
	}
	all := []string{"--homedir", k.Home1(tb), "--batch", "--no-tty", "--quiet", "--force-v3-sigs",
		"--digest-algo", "SHA256"}
	sig, err := run(data, "gpg1", append(append(all, args...), "--detach-sign")...)
	if err != nil {
		tb.Fatal(err)
	}
	return sig
}

// Home1 returns a home of gpg1 with the secret key. It skips the test if the distribution has no
// gpg1: only rpmsign, which runs a given gpg, needs it.
func (k *Key) Home1(tb testing.TB) string {
	tb.Helper()
	if err := distro.CanSignV3(); err != nil {
		tb.Skip(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if k.home1 != "" {
		return k.home1
	}
	secret, err := k.gpg(nil, "--export-secret-keys")
	if err != nil {
		tb.Fatal(err)
	}
	home := k.Home + ".1"
	if err := os.MkdirAll(home, 0o700); err != nil {
		tb.Fatal(err)
	}
	if _, err := run(secret, "gpg1", "--homedir", home, "--batch", "--no-tty", "--quiet",
		"--import"); err != nil {
		tb.Fatal(err)
	}
	k.home1 = home
	return home
}

// signWithout1 implements the options of gpg1 that tests use.
func (k *Key) signWithout1(tb testing.TB, data []byte, args []string) []byte {
	tb.Helper()
	name := "SHA256"
	if i := slices.Index(args, "--digest-algo"); i >= 0 {
		name = args[i+1]
	}
	if slices.Contains(args, "--no-force-v3-sigs") {
		return k.Sign(tb, data, "--digest-algo", name)
	}
	sig := SignPacketV3(tb, k.Secret(tb), PacketV3{Hash: name, Date: time.Now()}, data)
	if slices.Contains(args, "--armor") {
		return armor(sig)
	}
	return sig
}

// Secret returns the secret primary key.
func (k *Key) Secret(tb testing.TB) *packet.PrivateKey {
	tb.Helper()
	entities, err := openpgp.ReadKeyRing(bytes.NewReader(k.GPG(tb, nil, "--export-secret-keys")))
	if err != nil {
		tb.Fatal(err)
	}
	return entities[0].PrivateKey
}

// PacketV3 holds the fields of a version 3 signature other than its value.
type PacketV3 struct {
	Type byte   // 0 means of a binary document
	Hash string // "SHA256", "SHA512", "SHA1" or "MD5" as gpg1 names them; "" means SHA256
	Date time.Time
}

// hashes holds the numbers of hashes in OpenPGP. RIPEMD160 has no implementation here: its
// signature has no right value.
var hashes = map[string]struct {
	number byte
	hash   crypto.Hash
}{
	"": {8, crypto.SHA256}, "SHA256": {8, crypto.SHA256}, "SHA512": {10, crypto.SHA512},
	"SHA1": {2, crypto.SHA1},
	"MD5":  {1, crypto.MD5}, "RIPEMD160": {3, crypto.SHA1},
}

// SignPacketV3 returns a version 3 signature over data with any type and date, made without gpg1:
// RFC 4880, section 5.2.2.
func SignPacketV3(tb testing.TB, key *packet.PrivateKey, p PacketV3, data []byte) []byte {
	tb.Helper()
	algorithm, known := hashes[p.Hash]
	if !known {
		tb.Fatalf("hash %q cannot be used for signatures here", p.Hash)
	}
	closing := binary.BigEndian.AppendUint32([]byte{p.Type}, uint32(p.Date.Unix()))
	h := algorithm.hash.New()
	h.Write(data)
	h.Write(closing)
	sum := h.Sum(nil)
	value, err := rsa.SignPKCS1v15(nil, key.PrivateKey.(*rsa.PrivateKey), algorithm.hash, sum)
	if err != nil {
		tb.Fatal(err)
	}
	value = bytes.TrimLeft(value, "\x00")
	body := append([]byte{3, 5}, closing...)
	body = binary.BigEndian.AppendUint64(body, key.KeyId)
	body = append(body, 1, algorithm.number, sum[0], sum[1])
	body = binary.BigEndian.AppendUint16(body, uint16(8*(len(value)-1)+bits.Len8(value[0])))
	body = append(body, value...)
	return append(binary.BigEndian.AppendUint16([]byte{0x89}, uint16(len(body))), body...)
}

// armor encodes a signature as text, with its checksum: RFC 4880, section 6.
func armor(sig []byte) []byte {
	crc := uint32(0xb704ce)
	for _, b := range sig {
		crc ^= uint32(b) << 16
		for range 8 {
			if crc <<= 1; crc&0x1000000 != 0 {
				crc ^= 0x1864cfb
			}
		}
	}
	var text strings.Builder
	text.WriteString("-----BEGIN PGP SIGNATURE-----\n\n")
	for line := range slices.Chunk([]byte(base64.StdEncoding.EncodeToString(sig)), 64) {
		fmt.Fprintf(&text, "%s\n", line)
	}
	check := base64.StdEncoding.EncodeToString([]byte{byte(crc >> 16), byte(crc >> 8), byte(crc)})
	fmt.Fprintf(&text, "=%s\n-----END PGP SIGNATURE-----\n", check)
	return []byte(text.String())
}
