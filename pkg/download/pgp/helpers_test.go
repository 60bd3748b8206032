package pgp_test

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/lpbuild/lpbuild/internal/pgptest"
)

// signV3 makes a version 3 signature with any type and date.
func signV3(t *testing.T, key *packet.PrivateKey, kind byte, date time.Time, data []byte) []byte {
	t.Helper()
	return pgptest.SignPacketV3(t, key, pgptest.PacketV3{Type: kind, Date: date}, data)
}

// v6 is a key of version 6, which gpg does not support.
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
	if err := openpgp.DetachSign(&b, []*openpgp.Entity{v.entity}, bytes.NewReader(data),
		config); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
