package download_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/internal/distro"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/fetch"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
	"github.com/lpbuild/lpbuild/pkg/download/rpmfile"
)

// damage returns a copy of body with one bit in the middle flipped.
func damage(body []byte) []byte {
	body = bytes.Clone(body)
	body[len(body)/2] ^= 0x10
	return body
}

func half(body []byte) []byte { return body[:len(body)/2] }

// secret is in every URL of TestBadRepositories and must never be printed.
const secret = "s3cr3t-t0ken"

// TestBadRepositories introduces one fault at a time. Each time the error is typed, names the file
// and its URL without the token, and leaves lock, catalogue and store as they were.
func TestBadRepositories(t *testing.T) {
	tests := map[string]struct {
		options distro.StandardOptions
		broken  func(*testing.T, *world)
		request func(*testing.T, *world, *download.Request)
		want    error
		names   string // what the error must name
	}{
		"signature missing": {
			broken: func(_ *testing.T, w *world) {
				w.server.Misbehave(distro.Fault{Path: "*.asc", Status: 404})
			},
			want: pgp.ErrNoSignature, names: "/repodata/repomd.xml",
		},
		"signature of something else": {
			broken: func(_ *testing.T, w *world) {
				w.server.Misbehave(distro.Fault{Path: "repomd.xml", Change: damageSpace})
			},
			want: pgp.ErrBadSignature, names: "/repodata/repomd.xml",
		},
		"signature damaged": {
			broken: func(_ *testing.T, w *world) {
				w.server.Misbehave(distro.Fault{Path: "*.asc", Change: damage})
			},
			want: pgp.ErrBadSignature, names: "/repodata/repomd.xml",
		},
		"signature by another key": {
			request: func(t *testing.T, _ *world, r *download.Request) {
				other, err := distro.CachedKey(t.Context(), filepath.Join(t.TempDir(), "key"),
					distro.KeyOptions{}, 7)
				if err != nil {
					t.Fatal(err)
				}
				r.Repositories[0].Keys = keyring(t, other.Public())
			},
			want: pgp.ErrUnknownKey, names: "/repodata/repomd.xml",
		},
		"key expired": {
			options: distro.StandardOptions{Builds: 1,
				KeyOptions: distro.KeyOptions{Expired: true}},
			want: pgp.ErrExpired, names: "/repodata/repomd.xml",
		},
		"weak signature": {
			options: distro.StandardOptions{Builds: 1,
				KeyOptions: distro.KeyOptions{Digest: "sha1"}},
			want: pgp.ErrWeak, names: "/repodata/repomd.xml",
		},
		"RPM unsigned": {
			options: distro.StandardOptions{Builds: 1, UnsignedRPMs: true},
			want:    pgp.ErrNoSignature, names: "glibc-2.31-150300.9.12.1.x86_64.rpm",
		},
		"RPM damaged": {
			broken: func(_ *testing.T, w *world) {
				w.server.Misbehave(distro.Fault{Path: "glibc-2*.rpm", Change: damage})
			},
			want: digest.ErrMismatch, names: "glibc-2.31-150300.9.12.1.x86_64.rpm",
		},
		"RPM truncated": {
			broken: func(_ *testing.T, w *world) {
				w.server.Misbehave(distro.Fault{Path: "glibc-2*.rpm", Change: half})
			},
			names: "glibc-2.31-150300.9.12.1.x86_64.rpm",
		},
		"RPM gone": {
			broken: func(_ *testing.T, w *world) {
				w.server.Misbehave(distro.Fault{Path: "glibc-2*.rpm", Status: 404})
			},
			want: download.ErrIncomplete, names: "glibc-2.31-150300.9.12.1.x86_64.rpm",
		},
		"metadata damaged": {
			broken: func(_ *testing.T, w *world) {
				w.server.Misbehave(distro.Fault{Path: "*primary.xml*", Change: damage})
			},
			want: download.ErrIncomplete, names: "primary.xml",
		},
		"metadata truncated": {
			broken: func(_ *testing.T, w *world) {
				w.server.Misbehave(distro.Fault{Path: "*primary.xml*", Change: half})
			},
			names: "primary.xml",
		},
		"metadata longer than announced": {
			broken: func(_ *testing.T, w *world) {
				w.server.Misbehave(distro.Fault{Path: "*primary.xml*",
					Change: func(b []byte) []byte { return append(b, make([]byte, 1<<20)...) }})
			},
			want: fetch.ErrTooLarge, names: "primary.xml",
		},
		"huge metadata": {
			broken: func(_ *testing.T, w *world) {
				w.server.Misbehave(distro.Fault{Path: "repomd.xml", Change: func([]byte) []byte {
					return make([]byte, 17<<20)
				}})
			},
			want: fetch.ErrTooLarge, names: "repomd.xml",
		},
		"metadata not XML": {
			options: distro.StandardOptions{Builds: 1, Unsigned: true},
			broken: func(_ *testing.T, w *world) {
				w.server.Misbehave(distro.Fault{Path: "repomd.xml", Change: func([]byte) []byte {
					return []byte("<html>Please log in")
				}})
			},
			names: "/repodata/repomd.xml",
		},
		"no repository": {
			request: func(t *testing.T, w *world, r *download.Request) {
				r.Repositories[0].Main = location(t, w.server.URL+"/nothing?"+secret)
			},
			want: fetch.ErrNotFound, names: "nothing/repodata/repomd.xml",
		},
		"server broken": {
			broken: func(_ *testing.T, w *world) {
				w.server.Misbehave(distro.Fault{Path: "*primary.xml*", Status: 503})
			},
			names: "primary.xml",
		},
		"RPM is another one": {
			options: distro.StandardOptions{Builds: 1, Unsigned: true, NoDebuginfo: true},
			broken: func(t *testing.T, w *world) {
				renameInMetadata(t, w, "150300.9.12.1", "150300.9.12.2")
			},
			names: "the repository is inconsistent",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if tc.options.Builds == 0 {
				tc.options.Builds = 1
			}
			w := newWorld(t, tc.options)
			if tc.broken != nil {
				tc.broken(t, w)
			}
			kept := "{\n \"format\": 1,\n \"product\": \"FORMER\",\n \"repositories\": null,\n " +
				"\"builds\": null\n}\n"
			if err := os.WriteFile(w.lock, []byte(kept), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := w.run(t, func(r *download.Request) {
				r.Repositories[0].Main = location(t, w.server.URL+"/update?"+secret)
				if tc.request != nil {
					tc.request(t, w, r)
				}
			})
			if err == nil {
				t.Fatal("no error")
			}
			if tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("error is %v, want %v", err, tc.want)
			}
			if !strings.Contains(err.Error(), tc.names) ||
				!strings.Contains(err.Error(), w.server.URL) {
				t.Errorf("error %q, want %q and the URL in it", err, tc.names)
			}
			if file := w.server.URL + "/update"; strings.Count(err.Error(), ".rpm") > 1 &&
				strings.Count(err.Error(), file) > 1 {
				t.Errorf("error %q names the file twice", err)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the token is in the error: %v", err)
			}
			if now, _ := os.ReadFile(w.lock); string(now) != kept {
				t.Errorf("the former lock was changed to %q", now)
			}
			if _, err := os.Stat(filepath.Join(w.dir, download.CatalogueDir)); err == nil {
				t.Error("a catalogue was written")
			}
			checkStore(t, w.store)
			if left := files(t, filepath.Join(w.store.Dir(), "tmp")); len(left) != 0 {
				t.Errorf("left in the store: %q", left)
			}
		})
	}
}

// damageSpace changes white space, so that the XML means the same.
func damageSpace(body []byte) []byte { return append(bytes.Clone(body), '\n') }

// renameInMetadata makes primary.xml of the unsigned repository list a build under another release
// than the RPM's own.
func renameInMetadata(t *testing.T, w *world, old, new string) {
	t.Helper()
	editMetadata(t, w, `rel="`+old+`"/>`, `rel="`+new+`"/>`)
}

// editMetadata replaces text in primary.xml and makes a matching repomd.xml.
func editMetadata(t *testing.T, w *world, old, new string) {
	t.Helper()
	editXML(t, w, func(xml []byte) []byte {
		if !bytes.Contains(xml, []byte(old)) {
			t.Fatalf("no %s in\n%s", old, xml)
		}
		return bytes.ReplaceAll(xml, []byte(old), []byte(new))
	})
}

// editXML changes primary.xml and makes a matching repomd.xml.
func editXML(t *testing.T, w *world, change func([]byte) []byte) {
	t.Helper()
	repodata := filepath.Join(w.repo.Dir, "repodata")
	found, err := filepath.Glob(filepath.Join(repodata, "*primary.xml.gz"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	f, err := os.Open(found[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	xml, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	xml = change(xml)
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	if _, err := zw.Write(xml); err != nil || zw.Close() != nil {
		t.Fatal(err)
	}
	repomd := fmt.Sprintf(`<repomd xmlns="http://linux.duke.edu/metadata/repo">
<revision>1</revision><data type="primary">
<checksum type="sha256">%s</checksum><open-checksum type="sha256">%s</open-checksum>
<location href="repodata/primary.xml.gz"/>
<timestamp>1</timestamp><size>%d</size><open-size>%d</open-size></data></repomd>`,
		digest.OfBytes(packed.Bytes()).Hex, digest.OfBytes(xml).Hex, packed.Len(), len(xml))
	for name, data := range map[string][]byte{"primary.xml.gz": packed.Bytes(),
		"repomd.xml": []byte(repomd)} {
		if err := os.WriteFile(filepath.Join(repodata, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTokenIsUsedAndNotStored sends the query of the Customer Center's URLs with every request, and
// keeps it out of the lock.
func TestTokenIsUsedAndNotStored(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1, NoDebuginfo: true})
	w.mustRun(t, func(r *download.Request) {
		r.Repositories[0].Main = location(t, w.server.URL+"/update?"+secret)
	})
	for _, r := range w.server.Requests("") {
		if r.Query != secret {
			t.Errorf("%s was requested with the query %q", r.Path, r.Query)
		}
	}
	lock, err := os.ReadFile(w.lock)
	if err != nil || bytes.Contains(lock, []byte(secret)) {
		t.Errorf("the token is in the lock (%v)", err)
	}
}

// TestRepositoryChanges publishes new metadata between repomd.xml and primary.xml: the repository
// is read once more.
func TestRepositoryChanges(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1})
	w.server.Misbehave(distro.Fault{Path: "*primary.xml*", Status: 404, Times: 1})
	if n := len(w.mustRun(t, nil).Lock.Builds); n != 1 {
		t.Errorf("%d builds, want 1", n)
	}
	w.newDir(t)
	// the signature of the next state
	w.server.Misbehave(distro.Fault{Path: "*.asc", Change: damage, Times: 1})
	if n := len(w.mustRun(t, nil).Lock.Builds); n != 1 {
		t.Errorf("%d builds, want 1", n)
	}
	w.newDir(t)
	w.server.Misbehave(distro.Fault{Path: "*primary.xml*", Status: 404})
	again := newWorldWithStore(t, w)
	if _, err := again.run(t, nil); !errors.Is(err, download.ErrIncomplete) ||
		errors.Is(err, download.ErrChanged) {
		t.Errorf("error is %v, want ErrIncomplete, since the state is the same", err)
	}
}

// TestWebPage reports a login page that a server sends in place of a repository's file.
func TestWebPage(t *testing.T) {
	page := func([]byte) []byte {
		return []byte("\n<!DOCTYPE HTML>\n<html><body>Please log in</body></html>\n")
	}
	for _, name := range []string{"repomd.xml", "repomd.xml.asc"} {
		w := newWorld(t, distro.StandardOptions{Builds: 1})
		w.server.Misbehave(distro.Fault{Path: name, Change: page})
		_, err := w.run(t, nil)
		if !errors.Is(err, pgp.ErrBadSignature) ||
			!strings.Contains(err.Error(), "the server sent a web page instead of "+name+",") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// newWorldWithStore returns w with an empty store.
func newWorldWithStore(t *testing.T, w *world) *world {
	t.Helper()
	fresh := newWorld(t, distro.StandardOptions{Builds: 1, NoDebuginfo: true})
	w.store = fresh.store
	return w
}

// signedBy makes a repository whose metadata are signed by one key and whose RPMs by another.
func signedBy(t *testing.T, o distro.KeyOptions) (w *world, other *distro.Key) {
	t.Helper()
	w = packageWorld(t, libfoo("1", fooOne))
	other, err := distro.CachedKey(t.Context(), filepath.Join(t.TempDir(), "key"), o, 7)
	if err != nil {
		t.Fatal(err)
	}
	rpm := filepath.Join(w.repo.Dir, "x86_64", "libfoo1-1-1.x86_64.rpm")
	if err := other.SignRPM(t.Context(), rpm); err != nil {
		t.Fatal(err)
	}
	if err := distro.MakeRepository(t.Context(), w.repo.Dir, nil,
		distro.RepositoryOptions{Key: w.repo.Key}); err != nil {
		t.Fatal(err)
	}
	return w, other
}

// TestRPMOfAnotherKey rejects an RPM signed by an unknown key even if trusted metadata list it.
func TestRPMOfAnotherKey(t *testing.T) {
	w, _ := signedBy(t, distro.KeyOptions{})
	_, err := w.run(t, want("libfoo1", "libfoo.so.1"))
	if !errors.Is(err, pgp.ErrUnknownKey) ||
		!strings.Contains(err.Error(), w.server.URL+"/update/x86_64/libfoo1-1-1.x86_64.rpm") {
		t.Errorf("error is %v, want ErrUnknownKey for the RPM", err)
	}
}

// TestRPMOfExpiredKey accepts a key that was valid when it signed: builds stay in repositories
// longer than keys last.
func TestRPMOfExpiredKey(t *testing.T) {
	w, old := signedBy(t, distro.KeyOptions{Expired: true})
	res := w.mustRun(t, func(r *download.Request) {
		want("libfoo1", "libfoo.so.1")(r)
		r.Repositories[0].Keys.Merge(keyring(t, old.Public()))
	})
	if key := res.Lock.Builds[0].RPM.Key; key != old.Fingerprint ||
		res.Lock.Repositories[0].Key != w.repo.Key.Fingerprint {
		t.Errorf("the RPM was signed by %s, want %s", key, old.Fingerprint)
	}
}

// TestRedirectToHTTP rejects a redirect from https to http.
func TestRedirectToHTTP(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1, NoDebuginfo: true})
	secure, err := distro.ServeTLS(w.root)
	if err != nil {
		t.Fatal(err)
	}
	defer secure.Close()
	secure.Misbehave(distro.Fault{Redirect: w.server.URL + "/"})
	pem := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(pem, secure.Certificate(), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = w.runTLS(t, secure)
	if !errors.Is(err, fetch.ErrRedirect) || !strings.Contains(err.Error(), secure.URL) {
		t.Errorf("error is %v, want ErrRedirect", err)
	}
	if n := len(w.server.Requests("")); n != 0 {
		t.Errorf("%d requests went over http", n)
	}
}

// TestHeaderThatPanics returns an ordinary error for an RPM whose header makes a parser panic.
func TestHeaderThatPanics(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1, Unsigned: true, NoDebuginfo: true})
	rpm := filepath.Join(w.repo.Dir, "x86_64", "glibc-2.31-150300.9.12.1.x86_64.rpm")
	data, err := os.ReadFile(rpm)
	if err != nil {
		t.Fatal(err)
	}
	for at := 96 + 16; at < 96+16+16*8; at++ { // the index of the signature header
		broken := bytes.Clone(data)
		broken[at] ^= 0xff
		if r, err := rpmfile.New(bytes.NewReader(broken), int64(len(broken)),
			"broken.rpm"); err == nil {
			// must not panic; a changed tag may be one that is never read
			_ = r.CheckDigests(t.Context())
		}
	}
	// A store that was tampered with is noticed, and the damaged copy is fetched again.
	d := digest.OfBytes(data)
	if _, err := w.store.Put(t.Context(), d, bytes.NewReader(data), 1<<20); err != nil {
		t.Fatal(err)
	}
	copy(data[96+8:], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	if err := errors.Join(os.Chmod(w.store.Path(d), 0o644),
		os.WriteFile(w.store.Path(d), data, 0o644)); err != nil {
		t.Fatal(err)
	}
	w.mustRun(t, nil)
	// The server really has such a file: the metadata have its digest, and nothing is signed.
	hostile := newWorld(t, distro.StandardOptions{Builds: 1, Unsigned: true, NoDebuginfo: true})
	hostile.server.Misbehave(distro.Fault{Path: "*.rpm", Change: func([]byte) []byte {
		return data
	}})
	replaceDigest(t, hostile, d, digest.OfBytes(data))
	var fe *rpmfile.FormatError
	if _, err := hostile.run(t, nil); !errors.As(err, &fe) ||
		!strings.Contains(err.Error(), hostile.server.URL) {
		t.Errorf("error is %v, want a FormatError with the URL", err)
	}
}

// replaceDigest makes the unsigned repository's metadata list other content for an RPM.
func replaceDigest(t *testing.T, w *world, old, new digest.Digest) {
	t.Helper()
	editMetadata(t, w, old.Hex, new.Hex)
}
