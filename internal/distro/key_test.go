package distro

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cachedKey returns a key in a directory of the test.
func cachedKey(t *testing.T, o KeyOptions) *Key {
	t.Helper()
	k, err := CachedKey(t.Context(), filepath.Join(t.TempDir(), "key"), o, 0)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// verifier returns a GnuPG home and an RPM database that know only the key.
func verifier(t *testing.T, k *Key) (home, db string) {
	t.Helper()
	home, err := os.MkdirTemp("", "gpg-*") // for the length of the sockets' names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// below /run/user, if that exists
		_, _ = try(context.Background(), home, home, "gpgconf", "--remove-socketdir")
		os.RemoveAll(home)
	})
	if err := os.WriteFile(home+"/key", k.Public(), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"gpg", "--batch", "--import", "key"},
		{"rpm", "--dbpath", home + "/db", "--import", "key"}} {
		if out, err := try(t.Context(), home, home, args[0], args[1:]...); err != nil {
			t.Fatalf("%s: %v\n%s", args, err, out)
		}
	}
	return home, home + "/db"
}

func TestKeys(t *testing.T) {
	tests := map[string]struct {
		options KeyOptions
		packet  []string // of a detached signature, as gpg lists it
		gpg     string   // printed on verification
		rpm     []string
	}{
		"RSA": {KeyOptions{}, []string{"algo 1,", "version 4,", "digest algo 8,"},
			"Good signature from \"lpbuild test vendor",
			[]string{"Header V4 RSA/SHA256 Signature", "Header SHA256 digest: OK",
				"Payload SHA256 digest: OK"}},
		"Ed25519": {KeyOptions{Algorithm: "ed25519", Name: "Other", Digest: "sha512"},
			[]string{"algo 22,", "version 4,", "digest algo 10,"}, "Good signature from \"Other",
			[]string{"Header V4 EdDSA/SHA512 Signature"}},
		"version 3": {KeyOptions{V3Signatures: true},
			[]string{"algo 1,", "version 3,", "digest algo 8,"}, "Good signature",
			[]string{"Header V3 RSA/SHA256 Signature", "    V3 RSA/SHA256 Signature"}},
		"expired": {KeyOptions{Expired: true}, []string{"version 4,"}, "This key has expired!",
			[]string{"Header V4 RSA/SHA256 Signature"}},
		"subkey": {KeyOptions{Algorithm: "ed25519", Subkey: true}, []string{"version 4,"},
			"Primary key fingerprint", []string{"V4 EdDSA"}},
		"SHA-1": {KeyOptions{Digest: "sha1"}, []string{"digest algo 2,"}, "Good signature",
			[]string{"Header V4 RSA/SHA1 Signature"}},
	}
	rpm, _ := rpmOf(t, bystanders()[0])
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := CanSignV3(); err != nil && tc.options.V3Signatures {
				t.Skip(err)
			}
			k := cachedKey(t, tc.options)
			home, db := verifier(t, k)
			file, signed := home+"/file", home+"/signed-1-1.noarch.rpm"
			copyFile(t, rpm, file)
			copyFile(t, rpm, signed)
			if err := errors.Join(k.Sign(t.Context(), file),
				k.SignRPM(t.Context(), signed)); err != nil {
				t.Fatal(err)
			}
			packet, err := try(t.Context(), home, home, "gpg", "--list-packets", "file.asc")
			for _, want := range tc.packet {
				if !strings.Contains(packet, want) {
					t.Errorf("no %q in the signature's packets (%v):\n%s", want, err, packet)
				}
			}
			said, err := try(t.Context(), home, home, "gpg", "--verify", "file.asc", "file")
			if err != nil || !strings.Contains(said, tc.gpg) || !strings.Contains(said, k.Signer) &&
				!tc.options.V3Signatures {
				t.Errorf("gpg --verify: %v, want %q by %s\n%s", err, tc.gpg, k.Signer, said)
			}
			checked, err := try(t.Context(), home, home, "rpm", "--dbpath", db, "-Kv", signed)
			for _, want := range tc.rpm {
				if err != nil || !strings.Contains(checked, want) ||
					strings.Contains(checked, "NOKEY") {
					t.Errorf("rpm -Kv: %v, want %q\n%s", err, want, checked)
				}
			}
		})
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := writeFile(to, f); err != nil {
		t.Fatal(err)
	}
}

func TestSignRPMKeepsTimesAndReplacesSignatures(t *testing.T) {
	b := bystanders()[0]
	rpm, _ := rpmOf(t, b)
	signed := filepath.Join(t.TempDir(), filepath.Base(rpm))
	copyFile(t, rpm, signed)
	if err := os.Chtimes(signed, defaultBuildTime, defaultBuildTime); err != nil {
		t.Fatal(err)
	}
	first, second := cachedKey(t, KeyOptions{Algorithm: "ed25519"}),
		cachedKey(t, KeyOptions{Algorithm: "ed25519", Name: "Second"})
	for _, k := range []*Key{first, second} {
		if err := k.SignRPM(t.Context(), signed); err != nil {
			t.Fatal(err)
		}
	}
	_, db := verifier(t, second)
	wantLines(t, output(t, ".", "rpm", "--dbpath", db, "-K", signed), signed+
		": digests signatures OK")
	if info, err := os.Stat(signed); err != nil || !info.ModTime().Equal(defaultBuildTime) {
		t.Errorf("signed RPM: %v, %v", info.ModTime(), err)
	}
	if err := first.SignRPM(t.Context()); err != nil {
		t.Errorf("nothing to sign: %v", err)
	}
}

func TestKeyErrors(t *testing.T) {
	dir := t.TempDir()
	for want, o := range map[string]KeyOptions{
		"algorithm \"dsa\"": {Algorithm: "dsa"},
		"digest \"md5\"":    {Digest: "md5"},
		"key for":           {Name: "A <b>"},
		"use rsa":           {Algorithm: "ed25519", V3Signatures: true},
		"turn back":         {Expired: true, V3Signatures: true},
	} {
		if k, err := newKey(t.Context(), dir, o); err == nil ||
			!strings.Contains(err.Error(), want) || k != nil {
			t.Errorf("newKey(%+v) = %v, %v; want an error with %s", o, k, err, want)
		}
	}
	k, err := newKey(t.Context(), dir+"/k", KeyOptions{Algorithm: "ed25519"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newKey(t.Context(), dir+"/k", KeyOptions{}); err == nil ||
		!strings.Contains(err.Error(), "not empty") {
		t.Errorf("newKey over a key: %v", err)
	}
	if _, err := CachedKey(t.Context(), dir+"/k", KeyOptions{Algorithm: "ed25519"},
		0); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("CachedKey over a key: %v", err)
	}
	if err := k.Sign(t.Context(), dir+"/missing"); err == nil ||
		!strings.Contains(err.Error(), "sign "+dir+"/missing: gpg:") {
		t.Errorf("Sign: %v", err)
	}
	if err := k.SignRPM(t.Context(), dir+"/missing.rpm"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("SignRPM: %v", err)
	}
	if _, err := newKey(t.Context(), dir+"/100%", KeyOptions{}); err == nil ||
		!strings.Contains(err.Error(), "a path with '%'") {
		t.Errorf("a directory with a percent sign: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := k.Sign(ctx, dir+"/k/key.json"); !errors.Is(err, context.Canceled) {
		t.Errorf("Sign, cancelled: %v", err)
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir + "/k"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the secret is left after Close: %v", err)
	}
}

func TestNoAgentIsLeft(t *testing.T) {
	k := cachedKey(t, KeyOptions{Algorithm: "ed25519"})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for range 4 {
		go func() { done <- k.Sign(t.Context(), file) }()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	deadline := time.Now().Add(5 * time.Second) // an agent removes its socket just before it exits
	for left := agents(k.dir); left != nil; left = agents(k.dir) {
		if time.Now().After(deadline) {
			t.Fatalf("left running: %q", left)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// agents returns the command lines of the gpg-agents of homes below dir.
func agents(dir string) (found []string) {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		line, err := os.ReadFile(name)
		if text := string(line); err == nil && strings.Contains(text, "gpg-agent") &&
			strings.Contains(text, dir) {
			found = append(found, text)
		}
	}
	return found
}

// An agent that exits late, or died, leaves sockets in the key's home.
func TestCopyKeyLeavesSockets(t *testing.T) {
	from, to := cachedKey(t, KeyOptions{Algorithm: "ed25519"}).dir,
		filepath.Join(t.TempDir(), "copy")
	const socket = "gpg/S.gpg-agent.browser"
	if err := syscall.Mknod(filepath.Join(from, socket), syscall.S_IFSOCK|0o600, 0); err != nil {
		t.Fatal(err)
	}
	if err := copyKey(to, from); err != nil {
		t.Fatal(err)
	}
	k, err := openKey(to)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(to, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := k.Sign(t.Context(), file); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(to, socket)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket was copied: %v", err)
	}
}

func TestCachedKeysAreEqualByNumber(t *testing.T) {
	o := KeyOptions{Algorithm: "ed25519"}
	var prints []string
	for _, n := range []int{0, 0, 1} {
		k, err := CachedKey(t.Context(), fmt.Sprintf("%s/%d", t.TempDir(), n), o, n)
		if err != nil {
			t.Fatal(err)
		}
		prints = append(prints, k.Fingerprint)
	}
	if prints[0] != prints[1] || prints[0] == prints[2] {
		t.Errorf("fingerprints of the keys 0, 0, 1: %v", prints)
	}
}
