package pgp_test

import (
	"bytes"
	"crypto"
	gorsa "crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/lpbuild/lpbuild/pkg/download/pgp/pgptest"
)

// secretKey returns the RSA primary key of key.
func secretKey(t *testing.T, key *pgptest.Key) *packet.PrivateKey {
	t.Helper()
	entities, err := openpgp.ReadKeyRing(bytes.NewReader(key.GPG(t, nil, "--export-secret-keys")))
	if err != nil {
		t.Fatal(err)
	}
	return entities[0].PrivateKey
}

// signV3 makes a version 3 signature with any type and date.
func signV3(t *testing.T, key *packet.PrivateKey, kind byte, date time.Time, data []byte) []byte {
	t.Helper()
	closing := binary.BigEndian.AppendUint32([]byte{kind}, uint32(date.Unix()))
	sum := sha256.Sum256(append(bytes.Clone(data), closing...))
	value, err := gorsa.SignPKCS1v15(nil, key.PrivateKey.(*gorsa.PrivateKey), crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	value = bytes.TrimLeft(value, "\x00")
	bits := len(value)*8 - (8 - bitLen(value[0]))
	body := append([]byte{3, 5}, closing...)
	body = binary.BigEndian.AppendUint64(body, key.KeyId)
	body = append(body, 1, 8, sum[0], sum[1])
	body = append(binary.BigEndian.AppendUint16(body, uint16(bits)), value...)
	return append(binary.BigEndian.AppendUint16([]byte{0x89}, uint16(len(body))), body...)
}

func bitLen(b byte) int {
	n := 0
	for ; b > 0; b >>= 1 {
		n++
	}
	return n
}

// v6 is a key of version 6, which gpg does not know.
type v6 struct{ entity *openpgp.Entity }

var makeV6 = sync.OnceValues(func() (*openpgp.Entity, error) {
	return openpgp.NewEntity("Six", "", "six@example.com", v6Config())
})

func v6Config() *packet.Config {
	return &packet.Config{V6Keys: true, Algorithm: packet.PubKeyAlgoEd25519,
		Time: func() time.Time { return time.Now().Add(-time.Minute) }}
}

func newV6(t *testing.T) v6 {
	t.Helper()
	e, err := makeV6()
	if err != nil {
		t.Fatal(err)
	}
	return v6{e}
}

func (v v6) public(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := v.entity.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (v v6) sign(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	config := v6Config()
	config.Time = nil
	if err := openpgp.DetachSign(&b, []*openpgp.Entity{v.entity}, bytes.NewReader(data), config); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
