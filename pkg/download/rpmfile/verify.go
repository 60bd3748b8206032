package rpmfile

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // what old packages have against transfer errors
	"crypto/sha3"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"github.com/sassoftware/go-rpmutils"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
)

// errNoPayloadDigest means that the general header does not vouch for the payload.
var errNoPayloadDigest = errors.New("the package has no digest of its payload")

// Verify checks that a pinned key signed the whole package: the general header, which has the
// payload's digest, or (in packages built before RPM 4.14) header and payload together. One good
// signature suffices. Verify reads the payload.
//
// An error about signatures wraps [pgp.ErrBadSignature], or [pgp.ErrNoSignature] if there are none,
// and one about a payload that differs from the signed one wraps [digest.ErrMismatch].
func (r *RPM) Verify(ctx context.Context, keys *pgp.Keyring, p pgp.Policy) (*pgp.Signature, error) {
	sig, err := r.verify(ctx, keys, p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.file, err)
	}
	return sig, nil
}

func (r *RPM) verify(ctx context.Context, keys *pgp.Keyring, p pgp.Policy) (*pgp.Signature, error) {
	overHeader := r.headerSignatures()
	overAll := nonEmpty(r.sigTags[sigPGP], r.sigTags[sigGPG])
	if len(overHeader) == 0 && len(overAll) == 0 {
		return nil, fmt.Errorf("%w: the package is unsigned", pgp.ErrNoSignature)
	}
	reason := fmt.Errorf("%w: none covers the payload", pgp.ErrNoSignature)
	if len(overHeader) > 0 {
		sig, err := r.verifyHeader(ctx, overHeader, keys, p)
		if err == nil {
			return sig, nil
		}
		// A package signed in both ways, the old one with a pinned key, is as good as one signed in
		// the old way alone.
		if !errors.Is(err, pgp.ErrBadSignature) && !errors.Is(err, errNoPayloadDigest) {
			return nil, err
		}
		if !errors.Is(err, errNoPayloadDigest) {
			reason = err
		}
	}
	if len(overAll) == 0 {
		return nil, reason
	}
	return r.verifyAll(ctx, overAll, keys, p)
}

// headerSignatures returns the signatures over the general header. Each is judged separately: one
// of an unknown kind does not rule out a good one.
func (r *RPM) headerSignatures() [][]byte {
	sigs := nonEmpty(r.sigTags[sigRSAHeader], r.sigTags[sigDSAHeader])
	for text := range bytes.SplitSeq(r.sigTags[sigOpenPGP], []byte{0}) {
		if len(text) == 0 {
			continue
		}
		sig, err := base64.StdEncoding.AppendDecode(nil, text)
		if err != nil {
			sig = text // rejected later as not being a signature
		}
		sigs = append(sigs, sig)
	}
	return sigs
}

// nonEmpty returns the signatures that are not empty.
func nonEmpty(sigs ...[]byte) [][]byte {
	return slices.DeleteFunc(sigs, func(sig []byte) bool { return len(sig) == 0 })
}

// verifyHeader checks signatures over the general header, and the payload by the digest in it.
func (r *RPM) verifyHeader(ctx context.Context, sigs [][]byte, keys *pgp.Keyring,
	p pgp.Policy) (*pgp.Signature, error) {
	sig, err := keys.VerifyAny(sigs, bytes.NewReader(r.general), p)
	if err != nil {
		return nil, err
	}
	return sig, r.checkPayload(ctx)
}

// verifyAll checks signatures over the general header and the payload.
func (r *RPM) verifyAll(ctx context.Context, sigs [][]byte, keys *pgp.Keyring,
	p pgp.Policy) (sig *pgp.Signature, err error) {
	readErr := r.withPayload(ctx, func(payload io.Reader) error {
		sig, err = keys.VerifyAny(sigs, io.MultiReader(bytes.NewReader(r.general), payload), p)
		return nil
	})
	return sig, errors.Join(readErr, err)
}

// CheckDigests checks the package against its own digests. This finds damage, but vouches for
// nothing: it is for repositories whose packages are accepted unsigned.
func (r *RPM) CheckDigests(ctx context.Context) error {
	err := checkHeaderDigest(r.sigTags, r.general)
	if err == nil {
		err = r.checkPayload(ctx)
	}
	if errors.Is(err, errNoPayloadDigest) {
		err = r.checkMD5(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.file, err)
	}
	return nil
}

// payloadAlgorithms are the values of PAYLOADDIGESTALGO.
var payloadAlgorithms = map[uint32]string{
	rpmutils.HASH_MD5: "md5", rpmutils.HASH_SHA1: "sha1", rpmutils.HASH_SHA256: "sha256",
	rpmutils.HASH_SHA224: "sha224", rpmutils.HASH_SHA384: "sha384", rpmutils.HASH_SHA512: "sha512",
}

// Tags of the payload digests that RPM 6 has in addition to PAYLOADDIGEST, which it calls
// PAYLOADSHA256.
const (
	payloadSHA512  = 5121
	payloadSHA3256 = 5123
)

// payloadCheck is one digest of the payload in the general header.
type payloadCheck struct {
	hash hash.Hash
	want string // lower-case hexadecimal
}

// checkPayload compares the payload with each of its digests in the general header.
func (r *RPM) checkPayload(ctx context.Context) error {
	checks, err := r.payloadChecks()
	if err != nil {
		return err
	}
	writers := make([]io.Writer, len(checks))
	for i, c := range checks {
		writers[i] = c.hash
	}
	return r.withPayload(ctx, func(payload io.Reader) error {
		if _, err := io.Copy(io.MultiWriter(writers...), payload); err != nil {
			return err
		}
		for _, c := range checks {
			if err := mismatch(c.hash, c.want); err != nil {
				return err
			}
		}
		return nil
	})
}

// payloadChecks returns at least one check of the payload, or errNoPayloadDigest.
func (r *RPM) payloadChecks() ([]payloadCheck, error) {
	var checks []payloadCheck
	for _, tag := range []int{rpmutils.PAYLOADDIGEST, payloadSHA512, payloadSHA3256} {
		if !r.header.HasTag(tag) {
			continue
		}
		values, err := r.header.GetStrings(tag)
		if err != nil || len(values) == 0 {
			return nil, errors.Join(errNoPayloadDigest, err)
		}
		c, err := r.payloadCheck(tag, values[0])
		if err != nil {
			return nil, err
		}
		checks = append(checks, c)
	}
	if len(checks) == 0 {
		return nil, errNoPayloadDigest
	}
	return checks, nil
}

// payloadCheck returns the check for the digest in that tag.
func (r *RPM) payloadCheck(tag int, value string) (payloadCheck, error) {
	switch tag {
	case payloadSHA3256:
		return payloadCheck{sha3.New256(), strings.ToLower(value)}, nil
	case payloadSHA512:
		want, err := digest.New("sha512", value)
		if err != nil {
			return payloadCheck{}, fmt.Errorf("payload digest (SHA-512): %w", err)
		}
		return payloadCheck{want.Hash(), want.Hex}, nil
	}
	// RPM itself regards PAYLOADDIGEST as SHA-256 whatever PAYLOADDIGESTALGO says; RPM 6 no longer
	// writes that tag.
	algorithm := uint32(rpmutils.HASH_SHA256)
	if r.header.HasTag(rpmutils.PAYLOADDIGESTALGO) {
		var err error
		if algorithm, err = r.number(rpmutils.PAYLOADDIGESTALGO); err != nil {
			return payloadCheck{}, err
		}
	}
	want, err := digest.New(payloadAlgorithms[algorithm], value)
	if err != nil {
		return payloadCheck{}, fmt.Errorf("payload digest (algorithm %d): %w", algorithm, err)
	}
	return payloadCheck{want.Hash(), want.Hex}, nil
}

// checkMD5 compares header and payload with the digest that packages before RPM 4.14 have in the
// signature header.
func (r *RPM) checkMD5(ctx context.Context) error {
	want, ok := r.sigTags[sigMD5]
	if !ok {
		return errNoPayloadDigest
	}
	return r.withPayload(ctx, func(payload io.Reader) error {
		h := md5.New() //nolint:gosec // see above
		h.Write(r.general)
		if _, err := io.Copy(h, payload); err != nil {
			return err
		}
		return mismatch(h, fmt.Sprintf("%x", want))
	})
}

func mismatch(h hash.Hash, want string) error {
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != want {
		return fmt.Errorf("payload: %w: got %s, want %s: the file is damaged or truncated",
			digest.ErrMismatch, got, want)
	}
	return nil
}

// withPayload calls use with the compressed payload.
func (r *RPM) withPayload(ctx context.Context, use func(io.Reader) error) (err error) {
	at, closer, err := r.source()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	return use(&ctxReader{ctx, io.NewSectionReader(at, r.start, r.PayloadSize)})
}

// ctxReader stops reading when its context is done.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
