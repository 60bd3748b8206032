package download

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
)

func someLock() *Lock {
	d := digest.OfBytes([]byte("x"))
	return &Lock{
		Format: LockFormat, Product: "SLE-15-SP5",
		Repositories: []LockedRepository{{URL: "https://example.com/a&b", Revision: "1", Repomd: d,
			Key: "ABCD"}},
		Builds: []Build{{
			Name: "glibc", Source: "glibc", Epoch: 1, Version: "2.31", Release: "150300.9.12.1",
			Arch: "x86_64", Built: time.Unix(1e9, 0).UTC(),
			RPM:       File{URL: "https://example.com/a.rpm", Size: 7, Digest: d, Key: "ABCD"},
			Debuginfo: &File{URL: "u", Digest: d},
			Also:      []string{"glibc-2.31-1.x86_64"},
			Libraries: []Library{{
				Name: "libc.so.6", Variant: "power9", Path: "/lib64/libc-2.31.so",
				BuildID: "0123abcd", Digest: d, Debuginfo: &d,
				Catalogue: "catalogue/x/libc.so.6.json", Pinned: d,
			}},
			Exports: &Exports{File: "catalogue/x/exports.json", Digest: d},
		}},
	}
}

func TestLockRoundTrip(t *testing.T) {
	want := someLock()
	data, err := want.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseLock(data)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("lock (-want +got):\n%s", d)
	}
	if strings.Contains(string(data), `\u0026`) {
		t.Error("a URL has escapes that JSON does not need")
	}
}

// TestLockOrder writes builds in RPM's order, in whatever order they were found.
func TestLockOrder(t *testing.T) {
	l := someLock()
	for _, release := range []string{"150300.26.5", "150300.9.2", "150300.9.12.1"} {
		b := l.Builds[0]
		b.Epoch, b.Release = 0, release
		l.Builds = append(l.Builds, b)
	}
	if _, err := l.Bytes(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range l.Builds {
		got = append(got, b.Release)
	}
	if d := cmp.Diff([]string{"150300.9.2", "150300.9.12.1", "150300.26.5", "150300.9.12.1"},
		got); d != "" {
		t.Errorf("order (-want +got):\n%s", d)
	}
}

// TestHostileLocks rejects whatever would lead out of the directory or into a shell.
func TestHostileLocks(t *testing.T) {
	tests := map[string]func(*Lock){
		"other format":      func(l *Lock) { l.Format = 2 },
		"product is a path": func(l *Lock) { l.Product = "../x" },
		"catalogue outside": func(l *Lock) {
			l.Builds[0].Libraries[0].Catalogue = "../../etc/passwd"
		},
		"catalogue absolute": func(l *Lock) {
			l.Builds[0].Libraries[0].Catalogue = "/etc/passwd"
		},
		"catalogue is a source": func(l *Lock) {
			l.Builds[0].Libraries[0].Catalogue = "libc_livepatch1.json"
		},
		"catalogue is a hook": func(l *Lock) {
			l.Builds[0].Libraries[0].Catalogue = "catalogue/../.git/hooks/x.json"
		},
		"catalogue not JSON": func(l *Lock) {
			l.Builds[0].Libraries[0].Catalogue = "catalogue/x"
		},
		"catalogue not clean":  func(l *Lock) { l.Builds[0].Libraries[0].Catalogue = "a/../b" },
		"exports outside":      func(l *Lock) { l.Builds[0].Exports.File = "../x" },
		"shell in the version": func(l *Lock) { l.Builds[0].Version = "1;id" },
		"macro in the release": func(l *Lock) { l.Builds[0].Release = "$(id)" },
		"slash in the name":    func(l *Lock) { l.Builds[0].Name = "a/b" },
		"option for a name":    func(l *Lock) { l.Builds[0].Name = "-rf" },
		"newline in the arch":  func(l *Lock) { l.Builds[0].Arch = "x\ny" },
		"gone is no date":      func(l *Lock) { l.Builds[0].Gone = "yesterday" },
		"twin is a path":       func(l *Lock) { l.Builds[0].Twin = "../x" },
		"negative epoch":       func(l *Lock) { l.Builds[0].Epoch = -1 },
		"build-id not hex":     func(l *Lock) { l.Builds[0].Libraries[0].BuildID = "xyz" },
		"no build-id":          func(l *Lock) { l.Builds[0].Libraries[0].BuildID = "" },
		"no digest":            func(l *Lock) { l.Builds[0].RPM.Digest = digest.Digest{} },
		"no catalogue digest": func(l *Lock) {
			l.Builds[0].Libraries[0].Pinned = digest.Digest{}
		},
		"no digest of exports": func(l *Lock) { l.Builds[0].Exports.Digest = digest.Digest{} },
		"variant is a path":    func(l *Lock) { l.Builds[0].Libraries[0].Variant = "../power9" },
		"variant is a command": func(l *Lock) { l.Builds[0].Libraries[0].Variant = "$(id)" },
		"one file, two digests": func(l *Lock) {
			l.Builds[0].Libraries = append(l.Builds[0].Libraries, l.Builds[0].Libraries[0])
			l.Builds[0].Libraries[1].Pinned = digest.OfBytes([]byte("y"))
		},
		"one file, two digests in two builds": func(l *Lock) {
			l.Builds = append(l.Builds, l.Builds[0])
			l.Builds[1].Exports = &Exports{File: l.Builds[0].Exports.File,
				Digest: digest.OfBytes([]byte("y"))}
		},
		"library name is a path": func(l *Lock) { l.Builds[0].Libraries[0].Name = "a/.." },
	}
	for name, change := range tests {
		l := someLock()
		change(l)
		data, err := l.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseLock(data); err == nil || got != nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// TestTruncatedLock is an error at every byte.
func TestTruncatedLock(t *testing.T) {
	data, err := someLock().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(data) - 1 {
		if l, err := parseLock(data[:n]); err == nil {
			t.Fatalf("%d of %d bytes were accepted as a lock: %+v", n, len(data), l)
		}
	}
	if _, err := parseLock(append(data, '{', '}')); err == nil {
		t.Error("a second JSON value was accepted")
	}
}

func TestReadLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lpbuild.lock")
	if _, err := ReadLock(name); !errors.Is(err, ErrNoLock) ||
		!strings.Contains(err.Error(), "lpbuild download") {
		t.Errorf("error is %v, want ErrNoLock with a hint", err)
	}
	if err := os.WriteFile(name, []byte("<<<<<<< HEAD\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadLock(name); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("error is %v", err)
	}
}

func FuzzParseLock(f *testing.F) {
	data, err := someLock().Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"format":1,"product":"x","repositories":null,"builds":[{}]}`))
	f.Add([]byte(`{"format":1e999}`))
	f.Add(bytes.ReplaceAll(data, []byte(`"power9"`), []byte(`"../x"`)))
	only := someLock()
	only.Builds[0].Libraries = []Library{}
	if data, err = only.Bytes(); err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := parseLock(data)
		if (err == nil) != (l != nil) {
			t.Fatalf("got the lock %v and the error %v", l, err)
		}
		if err != nil {
			return
		}
		for _, name := range l.Files() {
			if !filepath.IsLocal(name) {
				t.Fatalf("%q is outside the directory", name)
			}
		}
		for _, b := range l.Builds {
			for _, lib := range b.Libraries {
				if strings.ContainsAny(b.Version+b.Release+lib.Variant, "/$ \n") {
					t.Fatalf("%q, %q, %q become part of file names", b.Version, b.Release,
						lib.Variant)
				}
			}
		}
		out, err := l.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseLock(out); err != nil {
			t.Fatalf("the written lock cannot be read: %v", err)
		}
	})
}

// TestOlder compares states of a repository by each property on its own.
func TestOlder(t *testing.T) {
	at := func(day int) time.Time { return time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC) }
	known := LockedRepository{Revision: "100", Timestamp: at(10), Signed: at(10),
		Repomd: digest.OfBytes([]byte("known"))}
	tests := map[string]struct {
		change func(*LockedRepository)
		want   string
	}{
		"newer in all": {func(l *LockedRepository) {
			l.Revision, l.Timestamp, l.Signed = "101", at(11), at(11)
		}, ""},
		"equal in all": {func(*LockedRepository) {}, ""},
		"revision": {func(l *LockedRepository) {
			l.Revision, l.Signed = "99", at(11)
		}, "revision 99, it was 100"},
		"revision without order": {func(l *LockedRepository) { l.Revision = "2.0" }, ""},
		"timestamp, signed again": {func(l *LockedRepository) {
			l.Timestamp, l.Signed = at(9), at(11)
		}, "metadata of 2026-01-09"},
		"signature": {func(l *LockedRepository) { l.Signed = at(9) },
			"signature of 2026-01-09"},
		"nothing is known": {func(l *LockedRepository) { *l = LockedRepository{} }, ""},
		"the same file": {func(l *LockedRepository) {
			l.Signed, l.Repomd = at(9), known.Repomd
		}, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l := known
			l.Repomd = digest.OfBytes([]byte("other"))
			tc.change(&l)
			if got := strings.Join(l.older(&known), "; "); tc.want == "" && got != "" ||
				!strings.HasPrefix(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
