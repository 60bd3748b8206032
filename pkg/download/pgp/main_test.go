package pgp_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/pgptest"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
)

func TestMain(m *testing.M) { os.Exit(pgptest.Main(m)) }

// message is the text that most tests sign.
var message = []byte("repomd.xml, or what stands for it\n")

// ring pins the public keys of the given kinds.
func ring(tb testing.TB, kinds ...pgptest.Kind) *pgp.Keyring {
	tb.Helper()
	k := &pgp.Keyring{}
	for _, kind := range kinds {
		k.Merge(read(tb, pgptest.Get(tb, kind).Public))
	}
	return k
}

func read(tb testing.TB, data []byte) *pgp.Keyring {
	tb.Helper()
	k, err := pgp.ReadKeys(data)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// refused checks that sig over message is rejected for the reason, and that the error says so in
// the given words.
func refused(tb testing.TB, k *pgp.Keyring, sig []byte, p pgp.Policy, reason error,
	words ...string) {
	tb.Helper()
	got, err := k.Verify(sig, bytes.NewReader(message), p)
	if got != nil || !errors.Is(err, reason) || !errors.Is(err, pgp.ErrBadSignature) {
		tb.Fatalf("Verify = %+v, %v; want %v", got, err, reason)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			tb.Errorf("%q lacks %q", err, w)
		}
	}
}

// accepted checks that sig over message is good.
func accepted(tb testing.TB, k *pgp.Keyring, sig []byte, p pgp.Policy) *pgp.Signature {
	tb.Helper()
	s, err := k.Verify(sig, bytes.NewReader(message), p)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func at(date string) time.Time {
	t, err := time.Parse(time.DateOnly, date)
	if err != nil {
		panic(err)
	}
	return t
}
