package distro

import (
	"compress/bzip2"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// readMetadata returns the plain text of a repository's primary metadata, after checking every file
// that repomd.xml names.
func readMetadata(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "repodata/repomd.xml"))
	if err != nil {
		t.Fatal(err)
	}
	var md repomd
	if err := xml.Unmarshal(text, &md); err != nil || len(md.Data) != 3 {
		t.Fatalf("repomd.xml with %d entries: %v", len(md.Data), err)
	}
	primary := ""
	named := []string{"repomd.xml", "repomd.xml.asc", "repomd.xml.key"}
	for _, d := range md.Data {
		named = append(named, filepath.Base(d.Location.Href))
		packed, err := os.ReadFile(filepath.Join(dir, d.Location.Href))
		if err != nil {
			t.Fatal(err)
		}
		plain := unpackMetadata(t, filepath.Ext(d.Location.Href), packed)
		if d.Size != int64(len(packed)) || d.OpenSize != int64(len(plain)) ||
			d.Checksum.Value != sum(d.Checksum.Type, packed) ||
			d.OpenChecksum.Value != sum(d.OpenChecksum.Type, plain) {
			t.Errorf("repomd.xml is wrong about %s: %+v", d.Location.Href, d)
		}
		if d.Type == "primary" {
			primary = string(plain)
		}
	}
	for _, name := range contentOf(t, filepath.Join(dir, "repodata")) {
		if !slices.Contains(named, name) {
			t.Errorf("repodata has %s, which repomd.xml does not name", name)
		}
	}
	return primary
}

func sum(algorithm string, data []byte) string {
	h := checksums[algorithm]()
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}

func unpackMetadata(t *testing.T, ext string, packed []byte) []byte {
	t.Helper()
	var r io.Reader
	var err error
	switch in := strings.NewReader(string(packed)); ext {
	case ".gz":
		r, err = gzip.NewReader(in)
	case ".bz2":
		r = bzip2.NewReader(in)
	case ".xz":
		r, err = xz.NewReader(in)
	case ".zst":
		r, err = zstd.NewReader(in)
	default:
		t.Fatalf("metadata in %q", ext)
	}
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func TestMakeRepositoryCompressions(t *testing.T) {
	rpms, _, err := cachedRPMs(t.Context(), append(bystanders(), old))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ compression, checksum string }{
		".gz": {"", ""}, ".xz": {"xz", "sha512"}, ".bz2": {"bz2", "sha1"},
		".zst": {"zst", "sha512"},
	}
	for ext, tc := range tests {
		t.Run(ext, func(t *testing.T) {
			dir := t.TempDir()
			err := MakeRepository(t.Context(), dir, rpms,
				RepositoryOptions{Compression: tc.compression, Checksum: tc.checksum,
					Revision: defaultBuildTime})
			if err != nil {
				t.Fatal(err)
			}
			primary := readMetadata(t, dir)
			for _, want := range []string{`packages="4"`,
				`href="x86_64/glibc-2.31-150300.26.5.x86_64.rpm"`, `href="noarch/glibc-i18ndata-`,
				`href="i686/glibc-2.31`, `<name>hello</name>`} {
				if !strings.Contains(primary, want) {
					t.Errorf("primary metadata lacks %s", want)
				}
			}
			found, _ := filepath.Glob(dir + "/repodata/*-primary.xml" + ext)
			repomd, _ := os.ReadFile(dir + "/repodata/repomd.xml")
			if len(found) != 1 ||
				!strings.Contains(string(repomd), "<revision>1740830400</revision>") {
				t.Errorf("primary metadata: %v; repomd.xml:\n%s", found, repomd)
			}
		})
	}
}

func TestMakeRepositoryAgain(t *testing.T) {
	dir := t.TempDir()
	k := cachedKey(t, KeyOptions{V3Signatures: CanSignV3() == nil})
	builds := bystanders()
	for i, o := range []RepositoryOptions{{Key: k}, {Key: k, Compression: "zst"}, {}} {
		rpm, _ := rpmOf(t, builds[i])
		if err := MakeRepository(t.Context(), dir, []string{rpm}, o); err != nil {
			t.Fatal(err)
		}
		if primary := readMetadata(t, dir); strings.Count(primary, "<package type=") != i+1 {
			t.Errorf("after %d calls:\n%s", i+1, primary)
		}
		_, err := os.Stat(dir + "/repodata/repomd.xml.asc")
		if _, keyErr := os.Stat(dir + "/repodata/repomd.xml.key"); (err == nil) != (o.Key != nil) ||
			(keyErr == nil) != (o.Key != nil) {
			t.Errorf("signature: %v, %v", err, keyErr)
		}
		if err == nil {
			home, _ := verifier(t, k)
			if said, err := try(t.Context(), home, dir+"/repodata", "gpg", "--verify",
				"repomd.xml.asc", "repomd.xml"); err != nil {
				t.Errorf("after %d calls: %v\n%s", i+1, err, said)
			}
		}
	}
}

func TestMakeRepositoryErrors(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/x-1-1.noarch.rpm", []byte("not an RPM"), 0o644); err != nil {
		t.Fatal(err)
	}
	rpm, _ := rpmOf(t, bystanders()[0])
	copyFile(t, rpm, dir+"/rpm")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tests := map[string]struct {
		ctx  context.Context
		rpm  string
		o    RepositoryOptions
		want string
	}{
		"a missing file": {t.Context(), dir + "/none.noarch.rpm", RepositoryOptions{},
			"no such file"},
		"not an RPM": {t.Context(), dir + "/x-1-1.noarch.rpm", RepositoryOptions{},
			"is not an RPM"},
		"a wrong name": {t.Context(), dir + "/rpm", RepositoryOptions{}, "is not named NAME-"},
		"no key":       {t.Context(), rpm, RepositoryOptions{SignRPMs: true}, "no key"},
		"checksum":     {t.Context(), rpm, RepositoryOptions{Checksum: "crc32"}, "checksum"},
		"compression":  {t.Context(), rpm, RepositoryOptions{Compression: "rar"}, "compression"},
		"cancelled":    {ctx, rpm, RepositoryOptions{}, "context canceled"},
	}
	for name, tc := range tests {
		if err := MakeRepository(tc.ctx, t.TempDir(), []string{tc.rpm}, tc.o); err == nil ||
			!strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func TestStandardRepository(t *testing.T) {
	dir := t.TempDir()
	repo, err := StandardRepository(t.Context(), dir,
		StandardOptions{Builds: 2, Compression: "zst"})
	if err != nil {
		t.Fatal(err)
	}
	debug := readMetadata(t, repo.DebugDir)
	update := readMetadata(t, repo.Dir)
	for _, b := range repo.Builds {
		if !strings.Contains(update, "/"+b.FileName()) ||
			!strings.Contains(debug, "/"+b.debuginfoFileName()) {
			t.Errorf("%s is not in the metadata", b)
		}
	}
	if !strings.Contains(update, "/hello-") || strings.Contains(update, "glibc-debuginfo-") {
		t.Errorf("update has the wrong packages:\n%s", update)
	}
	home, db := verifier(t, repo.Key)
	for _, r := range []string{repo.Dir, repo.DebugDir} {
		if said, err := try(t.Context(), home, r+"/repodata", "gpg", "--verify", "repomd.xml.asc",
			"repomd.xml"); err != nil {
			t.Errorf("%s: %v\n%s", r, err, said)
		}
		rpms, _ := filepath.Glob(r + "/*/*.rpm")
		for _, rpm := range rpms {
			wantLines(t, output(t, ".", "rpm", "--dbpath", db, "-K", rpm),
				rpm+": digests signatures OK")
		}
	}
	published, err := os.ReadFile(dir + "/key.asc")
	if err != nil || string(published) != string(repo.Key.Public()) {
		t.Errorf("key.asc: %v\n%s", err, published)
	}
	again, err := StandardRepository(t.Context(), dir, StandardOptions{Builds: 3})
	if err != nil || again.Key.Fingerprint != repo.Key.Fingerprint {
		t.Errorf("made again: %v, key %s, was %s", err, again.Key.Fingerprint, repo.Key.Fingerprint)
	}
}

func TestStandardRepositoryOptions(t *testing.T) {
	dir := t.TempDir()
	hello := Build{Name: "hello", Version: "9", Release: "9"}
	repo, err := StandardRepository(t.Context(), dir,
		StandardOptions{Builds: 1, Arches: []string{"x86_64", "ppc64le"}, Extra: []Build{hello},
			Unsigned: true, NoDebuginfo: true, NoBystanders: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, name := range contentOf(t, dir) {
		if !strings.Contains(name, "repodata") {
			got = append(got, name)
		}
	}
	want := []string{"update/ppc64le/glibc-2.31-150300.9.12.1.ppc64le.rpm",
		"update/x86_64/glibc-2.31-150300.9.12.1.x86_64.rpm",
		"update/x86_64/hello-9-9.x86_64.rpm"}
	if d := cmp.Diff(want, got); d != "" || repo.Key != nil || repo.DebugDir != "" ||
		len(repo.Builds) != 3 {
		t.Errorf("repository %+v (-want +got):\n%s", repo, d)
	}
	if signed := output(t, ".", "rpm", "-qp", "--qf", "%{RSAHEADER}%{DSAHEADER}", repo.Dir+
		"/x86_64/"+hello.FileName()); signed != "(none)(none)" {
		t.Errorf("signature of an unsigned RPM: %s", signed)
	}
	bad := StandardOptions{Extra: []Build{{Name: "hello"}}}
	if repo, err := StandardRepository(t.Context(), t.TempDir(), bad); err == nil || repo != nil {
		t.Errorf("an impossible build: %v, %v", repo, err)
	}
}
