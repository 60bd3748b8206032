// Package pgptest makes OpenPGP keys and signatures for tests, with the real gpg and, for
// signatures of version 3, the real gpg1. If a distribution has no gpg1, it makes those itself,
// byte for byte as gpg1 would.
//
// Keys are made once per test binary, in their own homes below the temporary directory. A test
// binary that uses them calls [Main] from its TestMain, which stops the agents that gpg started and
// removes the homes.
package pgptest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Kind is a kind of key.
type Kind string

// The kinds of keys that tests ask for.
const (
	RSA      Kind = "RSA 2048"
	OtherRSA Kind = "another RSA 2048"
	Ed25519  Kind = "Ed25519"
	ECDSA    Kind = "ECDSA P-256"
	Subkeys  Kind = "Ed25519 that only certifies, with an RSA 2048 subkey that signs"
	SHA1     Kind = "RSA 2048, self-signed with SHA-1"
	Weak     Kind = "RSA 1024"
	DSA      Kind = "DSA 1024"
	Expired  Kind = "RSA 2048 of 2020-01-01, expired a year later"
	Encrypts Kind = "RSA 2048 that certifies, with a subkey that encrypts"
)

// Key is a key in a home of its own.
type Key struct {
	Kind        Kind
	Home        string // gpg's home, with the secret key, which has no passphrase
	User        string
	Fingerprint string // upper-case hexadecimal
	Public      []byte // armored

	home1 string // of gpg1, once needed
}

var (
	mu   sync.Mutex
	keys = map[Kind]*Key{}
	base string
)

// Main runs the tests and cleans up. It returns the exit code.
func Main(m *testing.M) int {
	defer cleanUp()
	return m.Run()
}

func cleanUp() {
	mu.Lock()
	defer mu.Unlock()
	for _, k := range keys {
		StopAgent(k.Home)
	}
	if base != "" {
		_ = os.RemoveAll(base)
	}
}

// StopAgent stops the agent that gpg started in a home.
func StopAgent(home string) {
	_ = exec.CommandContext(context.Background(), "gpgconf", "--homedir", home, "--kill",
		"all").Run()
}

// Get returns the key of the given kind.
func Get(tb testing.TB, kind Kind) *Key {
	tb.Helper()
	mu.Lock()
	defer mu.Unlock()
	if k, ok := keys[kind]; ok {
		return k
	}
	k, err := generate(kind)
	if err != nil {
		tb.Fatalf("key %s: %v", kind, err)
	}
	return k
}

// generate makes a key. The key is registered before anything can fail, so that its agent is
// stopped.
func generate(kind Kind) (*Key, error) {
	if base == "" {
		var err error
		// short, since the path of the agent's socket is limited
		if base, err = os.MkdirTemp("", "pgp"); err != nil {
			return nil, err
		}
	}
	n := len(keys)
	k := &Key{Kind: kind, Home: filepath.Join(base, fmt.Sprint(n)),
		User: fmt.Sprintf("Test %d <%d@example.com>", n, n)}
	keys[kind] = k
	if err := os.Mkdir(k.Home, 0o700); err != nil {
		return nil, err
	}
	if err := k.make(); err != nil {
		return nil, err
	}
	var err error
	k.Public, err = k.gpg(nil, "--armor", "--export")
	return k, err
}

// recipes are the options that make each kind of key: its algorithm, use and life.
var recipes = map[Kind][]string{
	RSA: {"rsa2048", "sign", "never"}, OtherRSA: {"rsa2048", "sign", "never"},
	SHA1: {"rsa2048", "sign", "never"},
	Weak: {"rsa1024", "sign", "never"}, DSA: {"dsa1024", "sign", "never"},
	Expired: {"rsa2048", "sign", "1y"},
	Ed25519: {"ed25519", "sign", "never"}, ECDSA: {"nistp256", "sign", "never"},
	Subkeys: {"ed25519", "cert", "never"}, Encrypts: {"rsa2048", "cert", "never"},
}

// make generates the key in its home.
func (k *Key) make() error {
	var args []string
	switch k.Kind {
	case SHA1:
		args = []string{"--cert-digest-algo", "SHA1"}
	case Expired:
		args = []string{"--faked-system-time", "20200101T120000"}
	}
	args = append(args, "--quick-generate-key", k.User)
	if _, err := k.gpg(nil, append(args, recipes[k.Kind]...)...); err != nil {
		return err
	}
	var err error
	if k.Fingerprint, err = k.fingerprint(); err != nil {
		return err
	}
	switch k.Kind {
	case Subkeys:
		_, err = k.gpg(nil, "--quick-add-key", k.Fingerprint, "rsa2048", "sign", "never")
	case Encrypts:
		_, err = k.gpg(nil, "--quick-add-key", k.Fingerprint, "rsa2048", "encr", "never")
	}
	return err
}

func (k *Key) fingerprint() (string, error) {
	out, err := k.gpg(nil, "--with-colons", "--list-keys")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(out)) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" {
			return fields[9], nil
		}
	}
	return "", fmt.Errorf("no fingerprint in %q", out)
}

// Revocation returns the armored certificate that gpg prepares with each key, without the colon
// that prevents its import by mistake.
func (k *Key) Revocation(tb testing.TB) []byte {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(k.Home, "openpgp-revocs.d", k.Fingerprint+".rev"))
	if err != nil {
		tb.Fatal(err)
	}
	return bytes.Replace(text, []byte(":-----BEGIN"), []byte("-----BEGIN"), 1)
}

// Sign returns a detached signature, binary and of version 4 unless args say otherwise.
func (k *Key) Sign(tb testing.TB, data []byte, args ...string) []byte {
	tb.Helper()
	return k.GPG(tb, data, append(args, "--detach-sign")...)
}

// GPG runs gpg in the key's home and returns its output.
func (k *Key) GPG(tb testing.TB, stdin []byte, args ...string) []byte {
	tb.Helper()
	out, err := k.gpg(stdin, args...)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func (k *Key) gpg(stdin []byte, args ...string) ([]byte, error) {
	all := []string{"--homedir", k.Home, "--batch", "--no-tty", "--quiet", "--pinentry-mode",
		"loopback", "--passphrase", ""}
	return run(stdin, "gpg", append(all, args...)...)
}

func run(stdin []byte, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(context.Background(), name, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return out, nil
}
