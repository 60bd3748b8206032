package download_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/distro"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/fetch"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
)

// mirror copies the repository to another path of the server; change may then change the copy.
func (w *world) mirror(t *testing.T, name string, change func(dir string)) (url string) {
	t.Helper()
	dir := filepath.Join(w.root, name)
	if err := os.CopyFS(dir, os.DirFS(w.repo.Dir)); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(dir)
	}
	return w.server.URL + "/" + name
}

// damageFile flips a bit in the middle of a file.
func damageFile(t *testing.T, name string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, name, string(damage(data)))
}

// fromRepo requests the repositories of a .repo file.
func fromRepo(t *testing.T, text string) func(*download.Request) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.repo")
	writeFile(t, file, "[x]\nname=X\n"+text)
	return func(r *download.Request) { r.Repositories[0].Main = location(t, file) }
}

// TestMirrors uses the first mirror that works: none that is gone, has a bad signature or lags
// behind.
func TestMirrors(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1, NoDebuginfo: true})
	w.publishAt(t, time.Now().Add(-48*time.Hour))
	late := w.mirror(t, "late", nil)
	w.publishAt(t, time.Now().Add(-24*time.Hour))
	away := w.server.URL + "/away"
	forged := w.mirror(t, "forged", func(dir string) {
		damageFile(t, filepath.Join(dir, "repodata", "repomd.xml"))
	})
	partial := w.mirror(t, "partial", func(dir string) { // lists the RPM, and does not have it
		if err := os.RemoveAll(filepath.Join(dir, "x86_64")); err != nil {
			t.Fatal(err)
		}
	})
	good := w.server.URL + "/update"
	metalink := `<metalink version="3.0" xmlns="http://www.metalinker.org/"><files>
<file name="other"><resources>
<url preference="100">` + away + `/repodata/repomd.xml</url></resources></file>
<file name="repomd.xml"><resources>
<url protocol="rsync" preference="100">rsync://h/repodata/repomd.xml</url>
<url protocol="http" preference="1">` + away + `2/repodata/repomd.xml</url>
<url protocol="http" preference="99">` + forged + `/repodata/repomd.xml</url>
<url protocol="http" preference="98">` + good + `/repodata/repomd.xml</url></resources></file>
</files></metalink>`
	metalink4 := `<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="repomd.xml"><url ` +
		`priority="2">` + away +
		`/repodata/repomd.xml</url><url priority="1">` + good +
		`/repodata/repomd.xml</url></file></metalink>`
	writeFile(t, filepath.Join(w.root, "list"), "# mirrors\n"+away+"\n\nftp://h/x\n"+good+"\n")
	writeFile(t, filepath.Join(w.root, "metalink"), metalink)
	writeFile(t, filepath.Join(w.root, "metalink4"), metalink4)
	list := "mirrorlist=" + w.server.URL + "/list?repo=a\n"
	tests := map[string]struct{ repo, name, mirror string }{
		"several URLs": {"baseurl=" + away + "\n  " + forged + "\n  " + good + "\n", away,
			good},
		"a mirror list": {list, w.server.URL + "/list#x-x86_64", good},
		"metalink": {"metalink=" + w.server.URL + "/metalink\n", w.server.URL +
			"/metalink#x-x86_64", good},
		"metalink, version 4": {"metalink=" + w.server.URL + "/metalink4\n", w.server.URL +
			"/metalink4#x-x86_64", good},
		"a URL that is a list": {"mirrorlist=" + w.server.URL + "/metalink\n", w.server.URL +
			"/metalink#x-x86_64", good},
		"a URL, and a list": {"baseurl=" + away + "\n" + list, away, good},
		"an unused list": {"baseurl=" + good + "\nmirrorlist=" + away + "\n", good,
			""},
		"a mirror without RPMs": {"baseurl=" + partial + "\n  " + good + "\n", partial,
			""},
		"a mirror without RPMs in a list": {"baseurl=" + partial + "\n" + list, partial, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w.newDir(t)
			fresh := newWorldWithStore(t, w)
			res := fresh.mustRun(t, fromRepo(t, tc.repo))
			if got := res.Lock.Repositories[0]; got.URL != tc.name || got.Mirror != tc.mirror ||
				len(res.Lock.Builds) != 1 {
				t.Errorf("the lock has %+v", got)
			}
		})
	}
	t.Run("one lags behind", func(t *testing.T) {
		w.newDir(t)
		fresh := newWorldWithStore(t, w)
		repo := "baseurl=" + late + "\n  " + good + "\n"
		w.server.Misbehave(distro.Fault{Path: "/late/repodata/repomd.xml", Status: 404, Times: 1})
		fresh.mustRun(t, fromRepo(t, repo))
		if got := w.mustRun(t, fromRepo(t, repo)).Lock.Repositories[0]; got.Mirror != good {
			t.Errorf("the lock has %+v", got)
		}
	})
	t.Run("none works", func(t *testing.T) {
		w.newDir(t)
		_, err := w.run(t, fromRepo(t, "baseurl="+away+"\n  "+forged+"\n"))
		if !errors.Is(err, fetch.ErrNotFound) || !errors.Is(err, pgp.ErrBadSignature) {
			t.Errorf("error is %v, want both reasons", err)
		}
	})
	if !slices.ContainsFunc(w.warnings, func(s string) bool {
		return strings.Contains(s, "next mirror") && strings.Contains(s, "/forged")
	}) {
		t.Errorf("warnings are %q", w.warnings)
	}
}

// TestMirrorListLeadsNowhere has lists with forbidden entries or none.
func TestMirrorListLeadsNowhere(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1, NoDebuginfo: true})
	for name, tc := range map[string]struct{ text, want string }{
		"files of this machine": {"file://" + w.repo.Dir + "\n" + w.repo.Dir + "\n",
			"names no usable mirror"},
		"nothing": {"# none\n", "names no usable mirror"},
		"a web page": {"<html><body>Please log in</body></html>",
			"neither a list of URLs nor a metalink"},
		"half of a metalink": {"<metalink><files>", "neither a list of URLs nor a metalink"},
	} {
		t.Run(name, func(t *testing.T) {
			writeFile(t, filepath.Join(w.root, "list"), tc.text)
			_, err := w.run(t, fromRepo(t, "mirrorlist="+w.server.URL+"/list\n"))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q", err, tc.want)
			}
		})
	}
}

// setBase gives all packages of the repository an xml:base, and signs the metadata again.
func (w *world) setBase(t *testing.T, base string) {
	t.Helper()
	editMetadata(t, w, `<location href="`, `<location xml:base="`+base+`" href="`)
	if w.repo.Key == nil {
		return
	}
	if err := w.repo.Key.Sign(t.Context(),
		filepath.Join(w.repo.Dir, "repodata", "repomd.xml")); err != nil {
		t.Fatal(err)
	}
}

// TestBase finds RPMs below another base than the repository's, inside it or on another host, which
// gets no token. They need the right digest and signature in any case.
func TestBase(t *testing.T) {
	other := newWorld(t, distro.StandardOptions{Builds: 1, NoDebuginfo: true})
	foreign := newWorld(t, distro.StandardOptions{Builds: 1, NoDebuginfo: true,
		KeyOptions: distro.KeyOptions{Algorithm: "ed25519"}})
	tests := map[string]struct {
		base     func(w *world) string
		unsigned bool
		want     error
		names    string // expected in the error, or the URL in the lock
	}{
		"relative": {base: func(*world) string { return "pool/one/" },
			names: "/update/pool/one/x86_64/glibc-2.31"},
		"the repository": {base: func(w *world) string { return w.server.URL + "/update" },
			names: "/update/x86_64/glibc-2.31"},
		"inside, as a URL": {base: func(w *world) string {
			return w.server.URL + "/update/pool/one"
		}, names: "/update/pool/one/x86_64/glibc"},
		"another host": {base: func(*world) string { return other.server.URL + "/update/" },
			names: other.server.URL + "/update/x86_64/glibc"},
		"another, unsigned": {base: func(*world) string { return other.server.URL + "/update" },
			unsigned: true, names: "so nothing vouches for it"},
		"another content": {base: func(*world) string { return foreign.server.URL + "/update" },
			want: digest.ErrMismatch, names: foreign.server.URL},
		"a local file": {base: func(w *world) string { return "file://" + w.repo.Dir },
			want: fetch.ErrRedirect, names: "a local file"},
		"out of it": {base: func(*world) string { return "../update_debug" },
			names: "not a path inside the repository"},
		"with a user": {base: func(*world) string { return "http://me:pw@h.example/x" },
			names: "xml:base"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, distro.StandardOptions{Builds: 1, NoDebuginfo: true,
				Unsigned: tc.unsigned,
				Key:      map[bool]*distro.Key{false: other.repo.Key}[tc.unsigned]})
			if err := os.CopyFS(filepath.Join(w.repo.Dir, "pool/one/x86_64"),
				os.DirFS(filepath.Join(w.repo.Dir, "x86_64"))); err != nil {
				t.Fatal(err)
			}
			if name == "another host" { // signatures differ: the very file
				if err := os.RemoveAll(filepath.Join(other.repo.Dir, "x86_64")); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(filepath.Join(w.repo.Dir, "x86_64"),
					filepath.Join(other.repo.Dir, "x86_64")); err != nil {
					t.Fatal(err)
				}
			}
			w.setBase(t, tc.base(w))
			other.server.Forget()
			res, err := w.run(t, func(r *download.Request) {
				r.Repositories[0].Main = location(t, w.server.URL+"/update?"+secret)
			})
			if err == nil {
				if url := res.Lock.Builds[0].RPM.URL; !strings.Contains(url, tc.names) {
					t.Errorf("the RPM is from %s, want %s", url, tc.names)
				}
			} else if !strings.Contains(err.Error(), tc.names) ||
				tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("error is %v, want %v with %q", err, tc.want, tc.names)
			}
			if good := strings.HasPrefix(tc.names, "/") ||
				name == "another host"; good != (err == nil) {
				t.Errorf("error is %v", err)
			}
			for _, r := range other.server.Requests("") {
				if r.Query != "" || r.Header.Get("Authorization") != "" {
					t.Errorf("the other host got the query %q", r.Query)
				}
			}
		})
	}
}
