package rpmfile_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sassoftware/go-rpmutils"

	"github.com/lpbuild/lpbuild/internal/pgptest"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
	"github.com/lpbuild/lpbuild/pkg/download/rpmfile"
)

// ring pins the public keys of the given kinds.
func ring(tb testing.TB, kinds ...pgptest.Kind) *pgp.Keyring {
	tb.Helper()
	all := &pgp.Keyring{}
	for _, kind := range kinds {
		k, err := pgp.ReadKeys(pgptest.Get(tb, kind).Public)
		if err != nil {
			tb.Fatal(err)
		}
		all.Merge(k)
	}
	return all
}

// accepted checks that r is signed by a key of that kind.
func accepted(t *testing.T, r *rpmfile.RPM, kind pgptest.Kind, version int) {
	t.Helper()
	sig, err := r.Verify(t.Context(), ring(t, kind), pgp.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	if sig.Version != version || sig.Key.Fingerprint != pgptest.Get(t, kind).Fingerprint {
		t.Errorf("got %+v", sig)
	}
}

// refused checks that Verify rejects r for that reason.
func refused(t *testing.T, r *rpmfile.RPM, keys *pgp.Keyring, reason error) {
	t.Helper()
	if sig, err := r.Verify(t.Context(), keys, pgp.Policy{}); sig != nil ||
		!errors.Is(err, reason) {
		t.Errorf("Verify = %+v, %v; want %v", sig, err, reason)
	} else if !strings.Contains(err.Error(), ".rpm: ") {
		t.Errorf("%q does not name the package", err)
	}
}

func TestVerifyRpmsign(t *testing.T) {
	tests := map[string]struct {
		kind    pgptest.Kind
		v3      bool
		version int
		args    []string
	}{
		"RSA, version 4":                        {pgptest.RSA, false, 4, nil},
		"RSA, version 3":                        {pgptest.RSA, true, 3, nil},
		"Ed25519":                               {pgptest.Ed25519, false, 4, nil},
		"RSA subkey":                            {pgptest.Subkeys, false, 4, nil},
		"header, and header and payload":        {pgptest.RSA, false, 4, []string{"--rpmv3"}},
		"version 3, header, header and payload": {pgptest.RSA, true, 3, []string{"--rpmv3"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := open(t, sign(t, pgptest.Get(t, tc.kind), tc.v3, tc.args...))
			accepted(t, r, tc.kind, tc.version)
			refused(t, r, ring(t, pgptest.OtherRSA), pgp.ErrUnknownKey)
			refused(t, r, nil, pgp.ErrUnknownKey)
			if err := r.CheckDigests(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestVerifyUnsigned(t *testing.T) {
	refused(t, open(t, pkg(t, "gzip")), ring(t, pgptest.RSA), pgp.ErrNoSignature)
}

func TestVerifyExpired(t *testing.T) {
	r := open(t, sign(t, pgptest.Get(t, pgptest.Expired), false))
	refused(t, r, ring(t, pgptest.Expired), pgp.ErrExpired)
	if _, err := r.Verify(t.Context(), ring(t, pgptest.Expired),
		pgp.Policy{AtSigning: true}); err != nil {
		t.Error(err)
	}
}

// signedParts returns the gzip package after a change, with signatures over the resulting header,
// and header and payload, by those kinds of keys; "" means none.
func signedParts(t *testing.T, header, all pgptest.Kind, change func(*parts)) *parts {
	t.Helper()
	p := takeApart(t, bytesOf(t, pkg(t, "gzip")))
	change(p)
	p.seal()
	if header != "" {
		p.sig.set(binTag(sigRSAHeader, pgptest.Get(t, header).SignV3(t, p.gen.encode())))
	}
	if all != "" {
		p.sig.set(binTag(sigPGP, pgptest.Get(t, all).SignV3(t,
			append(p.gen.encode(), p.payload...))))
	}
	return p
}

// withoutDigest makes a package as RPM before 4.14 did.
func withoutDigest(p *parts) {
	p.gen.drop(rpmutils.PAYLOADDIGEST, rpmutils.PAYLOADDIGESTALGO,
		5097)
}

func TestVerifyWithoutPayloadDigest(t *testing.T) {
	both := signedParts(t, pgptest.RSA, pgptest.RSA, withoutDigest)
	accepted(t, parse(t, both.bytes()), pgptest.RSA, 3)
	onlyAll := signedParts(t, "", pgptest.RSA, withoutDigest)
	accepted(t, parse(t, onlyAll.bytes()), pgptest.RSA, 3)
	onlyHeader := signedParts(t, pgptest.RSA, "", withoutDigest)
	refused(t, parse(t, onlyHeader.bytes()), ring(t, pgptest.RSA), pgp.ErrNoSignature)

	both.payload[len(both.payload)/2] ^= 1
	refused(t, parse(t, both.bytes()), ring(t, pgptest.RSA), pgp.ErrBadSignature)
}

// TestVerifyEither pins only one of two keys that signed.
func TestVerifyEither(t *testing.T) {
	r := parse(t, signedParts(t, pgptest.RSA, pgptest.OtherRSA, func(*parts) {}).bytes())
	accepted(t, r, pgptest.RSA, 3)
	accepted(t, r, pgptest.OtherRSA, 3)
	refused(t, r, ring(t, pgptest.Ed25519), pgp.ErrUnknownKey)
}

// TestVerifyOpenPGPTag has signatures as RPM 6 writes them: base64, one string for each.
func TestVerifyOpenPGPTag(t *testing.T) {
	p := signedParts(t, "", "", func(*parts) {})
	encode := func(kind pgptest.Kind) string {
		return base64.StdEncoding.EncodeToString(pgptest.Get(t, kind).Sign(t, p.gen.encode()))
	}
	p.sig.set(stringsTag(sigOpenPGP, encode(pgptest.RSA), encode(pgptest.Ed25519)))
	for _, kind := range []pgptest.Kind{pgptest.RSA, pgptest.Ed25519} {
		accepted(t, parse(t, p.bytes()), kind, 4)
	}
	p.sig.set(stringsTag(sigOpenPGP, "not base64!"))
	refused(t, parse(t, p.bytes()), ring(t, pgptest.RSA), pgp.ErrBadSignature)
}

func TestVerifyDSATag(t *testing.T) {
	p := signedParts(t, "", "", func(*parts) {})
	p.sig.set(binTag(sigDSAHeader, pgptest.Get(t, pgptest.Ed25519).Sign(t, p.gen.encode())))
	accepted(t, parse(t, p.bytes()), pgptest.Ed25519, 4)
}

// TestVerifyPayloadChanged has a good signature over the header, and another payload.
func TestVerifyPayloadChanged(t *testing.T) {
	data := bytesOf(t, sign(t, pgptest.Get(t, pgptest.RSA), false))
	start := len(data) - int(parse(t, data).PayloadSize)
	for _, i := range []int{start, start + 5000, len(data) - 1} {
		bad := bytes.Clone(data)
		bad[i] ^= 1
		refused(t, parse(t, bad), ring(t, pgptest.RSA), digest.ErrMismatch)
		if err := parse(t, bad).CheckDigests(t.Context()); !errors.Is(err, digest.ErrMismatch) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
	refused(t, parse(t, data[:len(data)-1]), ring(t, pgptest.RSA), digest.ErrMismatch)
	refused(t, parse(t, append(data, 0)), ring(t, pgptest.RSA), digest.ErrMismatch)
}

func TestVerifyWeakPayloadDigest(t *testing.T) {
	p := signedParts(t, pgptest.RSA, "", func(p *parts) {
		p.gen.set(int32Tag(rpmutils.PAYLOADDIGESTALGO, rpmutils.HASH_SHA1))
	})
	refused(t, parse(t, p.bytes()), ring(t, pgptest.RSA), digest.ErrWeak)
	if err := parse(t, p.bytes()).CheckDigests(t.Context()); !errors.Is(err, digest.ErrWeak) {
		t.Errorf("got %v", err)
	}
}

// TestVerifyFlips changes single bits before the payload. Only insignificant bytes may change
// unnoticed: the lead and the parts of the signature header that are neither a signature nor the
// header's digest.
func TestVerifyFlips(t *testing.T) {
	data := bytesOf(t, sign(t, pgptest.Get(t, pgptest.RSA), true))
	good, keys := parse(t, data), ring(t, pgptest.RSA)
	payload := len(data) - int(good.PayloadSize)
	general := payload - len(takeApartRaw(data))
	unnoticed := 0
	for i := range payload {
		bad := bytes.Clone(data)
		bad[i] ^= 1 << (i % 8)
		r, err := rpmfile.New(bytes.NewReader(bad), int64(len(bad)), "flipped.rpm")
		if err != nil {
			continue
		}
		if _, err := r.Verify(t.Context(), keys, pgp.Policy{}); err != nil {
			continue
		}
		unnoticed++
		if i >= general {
			t.Fatalf("byte %d of the general header was changed and nobody noticed", i-general)
		}
		if r.NEVRA() != good.NEVRA() || !slices.Equal(r.Files(), good.Files()) {
			t.Fatalf("a change of byte %d changed the package's properties", i)
		}
	}
	t.Logf("%d of %d bytes before the general header are insignificant", unnoticed, general)
}

// takeApartRaw returns the general header as encoded in a package.
func takeApartRaw(data []byte) []byte {
	_, n := decodeHeader(data[96:])
	rest := data[96+(n+7)/8*8:]
	_, n = decodeHeader(rest)
	return rest[:n]
}

func TestNewHeaderDigest(t *testing.T) {
	data := bytesOf(t, pkg(t, "gzip"))
	bad := bytes.Replace(data, []byte("libempty.so"), []byte("libEmpty.so"), 1)
	if _, err := rpmfile.New(bytes.NewReader(bad), int64(len(bad)), "a.rpm"); !errors.Is(err,
		digest.ErrMismatch) {
		t.Errorf("SHA-256: got %v", err)
	}
	p := takeApart(t, data)
	p.sig.drop(sigSHA256)
	p.gen = append(p.gen, stringTag(9999, "changed"))
	if _, err := rpmfile.New(bytes.NewReader(p.bytes()), int64(len(p.bytes())),
		"a.rpm"); !errors.Is(err, digest.ErrMismatch) {
		t.Errorf("SHA-1: got %v", err)
	}
	p.sig.drop(sigSHA1)
	parse(t, p.bytes())
}

func TestCheckDigestsMD5(t *testing.T) {
	p := takeApart(t, crafted(t, withoutDigest))
	if err := parse(t, p.bytes()).CheckDigests(t.Context()); err == nil ||
		!strings.Contains(err.Error(), "no digest") {
		t.Errorf("no digest at all: %v", err)
	}
	sum := md5.Sum(append(p.gen.encode(), p.payload...))
	p.sig.set(binTag(sigMD5, sum[:]))
	if err := parse(t, p.bytes()).CheckDigests(t.Context()); err != nil {
		t.Error(err)
	}
	p.payload[100] ^= 1
	if err := parse(t, p.bytes()).CheckDigests(t.Context()); !errors.Is(err, digest.ErrMismatch) {
		t.Errorf("got %v", err)
	}
}

func TestCheckDigestsOddTags(t *testing.T) {
	tests := map[string]rawTag{
		"no value":          stringsTag(rpmutils.PAYLOADDIGEST),
		"not hexadecimal":   stringsTag(rpmutils.PAYLOADDIGEST, "x"),
		"a number":          int32Tag(rpmutils.PAYLOADDIGEST, 1),
		"two algorithms":    int32Tag(rpmutils.PAYLOADDIGESTALGO, 8, 8),
		"unknown algorithm": int32Tag(rpmutils.PAYLOADDIGESTALGO, 99),
	}
	for name, tag := range tests {
		t.Run(name, func(t *testing.T) {
			p := takeApart(t, crafted(t, func(*parts) {}))
			p.gen.set(tag)
			p.sig.set(stringTag(sigSHA256, fmt.Sprintf("%x", sha256.Sum256(p.gen.encode()))))
			if err := parse(t, p.bytes()).CheckDigests(t.Context()); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestVerifyCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	for _, all := range []pgptest.Kind{"", pgptest.RSA} {
		r := parse(t, signedParts(t, "", all, func(*parts) {}).bytes())
		if err := r.CheckDigests(ctx); !errors.Is(err, enough) {
			t.Errorf("CheckDigests: %v", err)
		}
		if all == "" {
			continue
		}
		if _, err := r.Verify(ctx, ring(t, all), pgp.Policy{}); !errors.Is(err, enough) ||
			errors.Is(err, pgp.ErrBadSignature) {
			t.Errorf("Verify: %v", err)
		}
	}
}

// TestVerifyPolicy passes the time on.
func TestVerifyPolicy(t *testing.T) {
	r := open(t, sign(t, pgptest.Get(t, pgptest.RSA), false))
	_, err := r.Verify(t.Context(), ring(t, pgptest.RSA),
		pgp.Policy{Now: time.Now().AddDate(-1, 0, 0)})
	if !errors.Is(err, pgp.ErrBadSignature) || !strings.Contains(err.Error(), "future") {
		t.Errorf("got %v", err)
	}
}
