package distro

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
)

// KeyOptions describe a signing key. The zero value is a 3072-bit RSA key without expiry.
type KeyOptions struct {
	// "rsa" (the default: "rsa3072"), "rsa1024", "rsa2048", "rsa3072", "rsa4096" or "ed25519"
	Algorithm string
	Name      string // default "lpbuild test vendor"
	Email     string // default "vendor@example.com"
	// of signatures: "sha256" (the default), "sha384", "sha512", or "sha1", which nobody should
	// trust
	Digest string
	Subkey bool // signatures are made by a subkey of the primary key

	// V3Signatures makes signatures with OpenPGP version 3 packets, as SUSE does, with gpg1 and
	// only with RSA. RPMs get both signatures that SUSE's have: over the header, and over header
	// and payload.
	V3Signatures bool

	// Expired makes a key that expired more than three months ago. Its signatures are from before
	// that.
	Expired bool
}

// Key is a signing key with its own GnuPG home. Its methods may be called from several goroutines.
//
// gpg-agent runs only during a method call.
type Key struct {
	Options     KeyOptions // with the defaults filled in
	Fingerprint string     // of the primary key, 40 capital hexadecimal digits
	Signer      string     // fingerprint of the signing key: the primary key, or its subkey

	dir    string
	public []byte
	mu     sync.Mutex // one gpg-agent per home
}

const (
	// keyLifetime is the validity of an expired key, which begins twice as long ago. It is longer
	// than the year for which a key may be cached, so that signatures never postdate its expiry.
	keyLifetime = 500 * 24 * time.Hour

	keyFile    = "key.json" // the file that openKey reads
	publicFile = "public.asc"
)

var (
	algorithmPattern   = lazyregexp.New(`^(rsa(1024|2048|3072|4096)|ed25519)$`)
	digestPattern      = lazyregexp.New(`^sha(1|256|384|512)$`)
	userPattern        = lazyregexp.New(`^[A-Za-z][A-Za-z0-9@. _-]*$`)
	fingerprintPattern = lazyregexp.New(`(?m)^fpr:+([0-9A-F]{40}):`)
)

func (o KeyOptions) normal() (KeyOptions, error) {
	o.Algorithm = cmp.Or(o.Algorithm, "rsa")
	if o.Algorithm == "rsa" {
		o.Algorithm = "rsa3072"
	}
	o.Name = cmp.Or(o.Name, "lpbuild test vendor")
	o.Email = cmp.Or(o.Email, "vendor@example.com")
	o.Digest = cmp.Or(o.Digest, "sha256")
	switch {
	case !algorithmPattern().MatchString(o.Algorithm):
		return o, fmt.Errorf("key algorithm %q is not supported: use rsa, rsa2048 or ed25519",
			o.Algorithm)
	case !digestPattern().MatchString(o.Digest):
		return o, fmt.Errorf("signature digest %q is not supported: use sha256 or sha512", o.Digest)
	case !userPattern().MatchString(o.Name) || !userPattern().MatchString(o.Email):
		return o, fmt.Errorf("key for %q <%s>: use letters, digits and @ . _ - only", o.Name,
			o.Email)
	case o.V3Signatures && !strings.HasPrefix(o.Algorithm, "rsa"):
		return o, fmt.Errorf("a key of algorithm %s cannot make version 3 signatures: use rsa",
			o.Algorithm)
	case o.V3Signatures && (o.Expired || o.Subkey):
		return o, fmt.Errorf("gpg1, which makes version 3 signatures, can neither turn back its " +
			"clock nor use our subkeys: leave out Expired and Subkey")
	}
	return o, nil
}

// newKey makes a key in dir, which is created if necessary and must be empty. [CachedKey] is
// faster.
func newKey(ctx context.Context, dir string, o KeyOptions) (*Key, error) {
	o, err := o.normal()
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if err := plainPath(dir); err != nil {
		return nil, err
	}
	k := &Key{Options: o, dir: dir}
	for _, home := range []string{k.gpgHome(), k.gpg1Home()} {
		if err := os.MkdirAll(home, 0o700); err != nil {
			return nil, err
		}
	}
	if files, err := os.ReadDir(k.gpgHome()); err != nil || len(files) > 0 {
		return nil, cmp.Or(err, fmt.Errorf("new key: %s is not empty", dir))
	}
	if err := k.withAgent(ctx, k.generate); err != nil {
		return nil, fmt.Errorf("new key in %s: %w", dir, err)
	}
	return k, k.save()
}

// generate makes the key. The home has an agent.
func (k *Key) generate(ctx context.Context, home string) error {
	expiry := "never"
	if k.Options.Expired {
		expiry = fmt.Sprintf("seconds=%d", int64(keyLifetime.Seconds()))
	}
	user := fmt.Sprintf("%s <%s>", k.Options.Name, k.Options.Email)
	if _, err := k.gpg(ctx, home, "--passphrase", "", "--quick-gen-key", user, k.Options.Algorithm,
		"sign", expiry); err != nil {
		return err
	}
	listing, err := k.gpg(ctx, home, "--with-colons", "--list-keys")
	if err != nil {
		return err
	}
	match := fingerprintPattern().FindSubmatch(listing)
	if match == nil {
		return fmt.Errorf("gpg lists no key: %q", listing)
	}
	k.Fingerprint = string(match[1])
	k.Signer = k.Fingerprint
	if k.Options.Subkey {
		if err := k.addSubkey(ctx, home, expiry); err != nil {
			return err
		}
	}
	if k.public, err = k.gpg(ctx, home, "--armor", "--export", k.Fingerprint); err != nil ||
		!k.Options.V3Signatures {
		return err
	}
	return k.giveToGPG1(ctx, home)
}

func (k *Key) addSubkey(ctx context.Context, home, expiry string) error {
	_, err := k.gpg(ctx, home, "--passphrase", "", "--quick-add-key", k.Fingerprint,
		k.Options.Algorithm, "sign", expiry)
	if err != nil {
		return err
	}
	listing, err := k.gpg(ctx, home, "--with-colons", "--with-subkey-fingerprints", "--list-keys")
	if err != nil {
		return err
	}
	all := fingerprintPattern().FindAllSubmatch(listing, -1)
	k.Signer = string(all[len(all)-1][1])
	return nil
}

// Public returns the public key, ASCII armored.
func (k *Key) Public() []byte { return k.public }

// Close removes the key's directory, and the secret with it. The key holds no other resources.
func (k *Key) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return os.RemoveAll(k.dir)
}

func (k *Key) gpgHome() string  { return filepath.Join(k.dir, "gpg") }
func (k *Key) gpg1Home() string { return filepath.Join(k.dir, "gpg1") }

// save writes the file that openKey reads.
func (k *Key) save() error {
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(k.dir, publicFile), k.public, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(k.dir, keyFile), text, 0o644)
}

// openKey returns the key that save wrote to dir.
func openKey(dir string) (*Key, error) {
	text, err := os.ReadFile(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, err
	}
	k := &Key{}
	if err := json.Unmarshal(text, k); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, keyFile), err)
	}
	if k.dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	k.public, err = os.ReadFile(filepath.Join(dir, publicFile))
	return k, err
}
