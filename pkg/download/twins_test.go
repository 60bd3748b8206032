package download_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/download"
)

// twinsOf returns the twin names of the builds in the lock.
func twinsOf(l *download.Lock) []string {
	var all []string
	for i := range l.Builds {
		all = append(all, l.Builds[i].NEVRA()+" "+l.Builds[i].Twin)
	}
	return all
}

// TestEpochs has builds that differ only in the epoch: each gets a name of its own, and keeps it.
func TestEpochs(t *testing.T) {
	newer := libfoo("1", fooTwo)
	newer.Epoch = 2
	w, second := packageWorld(t, libfoo("1", fooOne), libfoo("2", fooOther)), packageWorld(t, newer)
	both := func(r *download.Request) {
		want("libfoo1", "libfoo.so.1")(r)
		r.Repositories = append(r.Repositories, second.source(t))
	}
	wanted := []string{"libfoo1-1-1.x86_64 ", "libfoo1-1-2.x86_64 ", "libfoo1-2:1-1.x86_64 epoch2"}
	if d := cmp.Diff(wanted, twinsOf(w.mustRun(t, both).Lock)); d != "" {
		t.Errorf("builds (-want +got):\n%s", d)
	}
	w.newDir(t)
	w.mustRun(t, func(r *download.Request) { // the newer one was there before
		both(r)
		r.Packages[0].Builds = mustRange(t, "= 2:1-1")
	})
	wanted = []string{"libfoo1-1-1.x86_64 epoch0", "libfoo1-1-2.x86_64 ", "libfoo1-2:1-1.x86_64 "}
	for range 2 {
		if d := cmp.Diff(wanted, twinsOf(w.mustRun(t, both).Lock)); d != "" {
			t.Errorf("builds (-want +got):\n%s", d)
		}
	}
}

// TestOneNameTwiceInOneRepository keeps both builds, since somebody may have either in memory.
func TestOneNameTwiceInOneRepository(t *testing.T) {
	w, other := packageWorld(t, libfoo("1", fooOne)), packageWorld(t, libfoo("1", fooTwo))
	w.addTo(t, "rebuilt", filepath.Join(other.repo.Dir, "x86_64", "libfoo1-1-1.x86_64.rpm"))
	for name, libraries := range map[string]string{"patched": "libfoo.so.1",
		"for its exports": ""} {
		t.Run(name, func(t *testing.T) {
			w.newDir(t)
			var before []string
			for range 2 {
				l := w.mustRun(t, want("libfoo1", libraries)).Lock
				now := twinsOf(l)
				if len(l.Builds) != 2 || l.Builds[0].NEVRA() != l.Builds[1].NEVRA() ||
					(l.Builds[0].Twin == "") == (l.Builds[1].Twin == "") {
					t.Fatalf("the twins are %v", now)
				}
				if before != nil && !slices.Equal(before, now) {
					t.Errorf("the twins are %v, were %v", now, before)
				}
				before = now
			}
			if !slices.ContainsFunc(w.warnings, func(s string) bool {
				return strings.Contains(s, "libfoo1-1-1.x86_64 exists twice")
			}) {
				t.Errorf("warnings are %q", w.warnings)
			}
		})
	}
}

// addTo adds an RPM to a directory of its own in the repository.
func (w *world) addTo(t *testing.T, dir, rpm string) {
	t.Helper()
	data, err := os.ReadFile(rpm)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(w.repo.Dir, dir, filepath.Base(rpm))
	writeFile(t, name, string(data))
	if err := w.repo.Key.SignRPM(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	w.publishAt(t, time.Now().Add(time.Minute))
}

// TestRebuiltUnderOneName replaces a build by another of the same name: the former one stays, under
// the name it had.
func TestRebuiltUnderOneName(t *testing.T) {
	w, other := packageWorld(t, libfoo("1", fooOne)), packageWorld(t, libfoo("1", fooTwo))
	first := w.mustRun(t, want("libfoo1", "libfoo.so.1")).Lock.Builds[0]
	const rpm = "x86_64/libfoo1-1-1.x86_64.rpm"
	w.addTo(t, "x86_64", filepath.Join(other.repo.Dir, rpm))
	l := w.mustRun(t, want("libfoo1", "libfoo.so.1")).Lock
	if len(l.Builds) != 2 || l.Gone() != 1 {
		t.Fatalf("the twins are %v, %d builds are gone", twinsOf(l), l.Gone())
	}
	for _, b := range l.Builds {
		if old := b.RPM.Digest == first.RPM.Digest; old != (b.Gone != "") ||
			old != (b.Twin == "") || !old && !strings.HasPrefix(b.Twin, "rpm") {
			t.Errorf("gone %q, twin %q, build-id %s", b.Gone, b.Twin, b.Libraries[0].BuildID)
		}
	}
}

// TestStaleEntry has a second entry for each package, with the digest of a file that no longer
// exists.
func TestStaleEntry(t *testing.T) {
	for _, first := range []bool{true, false} {
		w := packageWorld(t, libfoo("1", fooOne), libfoo("2", fooTwo))
		editXML(t, w, func(xml []byte) []byte {
			start, end := bytes.Index(xml, []byte("<package ")),
				bytes.Index(xml, []byte("</metadata>"))
			entries := xml[start:end]
			at := bytes.Index(entries, []byte(`pkgid="YES">`)) + len(`pkgid="YES">`)
			stale := slices.Concat(entries[:at], []byte(strings.Repeat("0", 8)),
				entries[at+8:bytes.Index(entries, []byte("</package>"))+len("</package>")])
			both := [][]byte{entries, stale}
			if first {
				both = [][]byte{stale, entries}
			}
			return slices.Concat(bytes.Replace(xml[:start], []byte(`packages="2"`),
				[]byte(`packages="3"`), 1), both[0], both[1], xml[end:])
		})
		if err := w.repo.Key.Sign(t.Context(),
			filepath.Join(w.repo.Dir, "repodata", "repomd.xml")); err != nil {
			t.Fatal(err)
		}
		res := w.mustRun(t, want("libfoo1", "libfoo.so.1"))
		if len(res.Lock.Builds) != 2 || !slices.ContainsFunc(w.warnings,
			func(s string) bool { return strings.Contains(s, "is stale") }) {
			t.Errorf("builds %v, warnings %q", twinsOf(res.Lock), w.warnings)
		}
	}
}
