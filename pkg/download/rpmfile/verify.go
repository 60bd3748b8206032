package rpmfile

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // what old packages have against transfer errors
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/sassoftware/go-rpmutils"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
)

// errNoPayloadDigest says that the general header does not vouch for the payload.
var errNoPayloadDigest = errors.New("the package has no digest of its payload")

// Verify checks that a pinned key signed the package, all of it: the general header with the payload's digest in it, or
// (packages built before RPM 4.14) header and payload together. One good signature suffices. The payload is read.
//
// An error about signatures wraps [pgp.ErrBadSignature], [pgp.ErrNoSignature] if there are none, and one about a
// payload that is not the signed one wraps [digest.ErrMismatch].
func (r *RPM) Verify(ctx context.Context, keys *pgp.Keyring, p pgp.Policy) (*pgp.Signature, error) {
	sig, err := r.verify(ctx, keys, p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.file, err)
	}
	return sig, nil
}

func (r *RPM) verify(ctx context.Context, keys *pgp.Keyring, p pgp.Policy) (*pgp.Signature, error) {
	overHeader, err := r.headerSignatures()
	if err != nil {
		return nil, err
	}
	overAll := append(bytes.Clone(r.sigTags[sigPGP]), r.sigTags[sigGPG]...)
	if len(overHeader) == 0 && len(overAll) == 0 {
		return nil, fmt.Errorf("%w: the package is unsigned", pgp.ErrNoSignature)
	}
	reason := fmt.Errorf("%w: none that covers the payload", pgp.ErrNoSignature)
	if len(overHeader) > 0 {
		sig, err := r.verifyHeader(ctx, overHeader, keys, p)
		if err == nil {
			return sig, nil
		}
		// What is signed in both ways, the old one with a pinned key, is as good as signed in the old way alone.
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

// headerSignatures returns the signatures over the general header.
func (r *RPM) headerSignatures() ([]byte, error) {
	sigs := append(bytes.Clone(r.sigTags[sigRSAHeader]), r.sigTags[sigDSAHeader]...)
	for text := range bytes.SplitSeq(r.sigTags[sigOpenPGP], []byte{0}) {
		sig, err := base64.StdEncoding.AppendDecode(nil, text)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", pgp.ErrBadSignature, err)
		}
		sigs = append(sigs, sig...)
	}
	return sigs, nil
}

// verifyHeader checks signatures over the general header, and the payload by the digest that it holds.
func (r *RPM) verifyHeader(ctx context.Context, sigs []byte, keys *pgp.Keyring, p pgp.Policy) (*pgp.Signature, error) {
	sig, err := keys.Verify(sigs, bytes.NewReader(r.general), p)
	if err != nil {
		return nil, err
	}
	return sig, r.checkPayload(ctx)
}

// verifyAll checks signatures over the general header and the payload.
func (r *RPM) verifyAll(ctx context.Context, sigs []byte, keys *pgp.Keyring, p pgp.Policy) (sig *pgp.Signature, err error) {
	readErr := r.withPayload(ctx, func(payload io.Reader) error {
		sig, err = keys.Verify(sigs, io.MultiReader(bytes.NewReader(r.general), payload), p)
		return nil
	})
	return sig, errors.Join(readErr, err)
}

// CheckDigests checks the package against its own digests. That finds damage, and vouches for nothing: it is for
// repositories whose packages are accepted unsigned.
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
	rpmutils.HASH_SHA384: "sha384", rpmutils.HASH_SHA512: "sha512",
}

// checkPayload compares the payload to the digest of it that the general header has.
func (r *RPM) checkPayload(ctx context.Context) error {
	if !r.header.HasTag(rpmutils.PAYLOADDIGEST) {
		return errNoPayloadDigest
	}
	values, err := r.header.GetStrings(rpmutils.PAYLOADDIGEST)
	if err != nil || len(values) == 0 {
		return errors.Join(errNoPayloadDigest, err)
	}
	algorithm, err := r.number(rpmutils.PAYLOADDIGESTALGO)
	if err != nil {
		return err
	}
	want, err := digest.New(payloadAlgorithms[algorithm], values[0])
	if err != nil {
		return fmt.Errorf("payload digest (algorithm %d): %w", algorithm, err)
	}
	return r.withPayload(ctx, func(payload io.Reader) error {
		h := want.Hash()
		if _, err := io.Copy(h, payload); err != nil {
			return err
		}
		return mismatch(h, want.Hex)
	})
}

// checkMD5 compares header and payload to the digest that packages before RPM 4.14 have, in the signature header.
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
		return fmt.Errorf("payload: %w: got %s, want %s: the file is damaged or cut off", digest.ErrMismatch, got, want)
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
