package rpmmd_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/rpmmd"
	"github.com/lpbuild/lpbuild/pkg/rpmver"
)

// TestRepository reads the output of createrepo_c and compares it with rpm's output about the
// packages.
func TestRepository(t *testing.T) {
	for _, compression := range []string{"gz", "bz2", "xz"} {
		t.Run(compression, func(t *testing.T) {
			dir := repository(t, compression)
			text, err := os.ReadFile(filepath.Join(dir, "repodata/repomd.xml"))
			if err != nil {
				t.Fatal(err)
			}
			repomd, err := rpmmd.ParseRepomd(text)
			if err != nil {
				t.Fatal(err)
			}
			d, err := repomd.Primary()
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Ext(d.Location) != "."+compression {
				t.Errorf("primary is %s", d.Location)
			}
			packed, err := os.ReadFile(filepath.Join(dir, d.Location))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(asRPMSays(t, dir), readPacked(t, d, packed)); d != "" {
				t.Errorf("packages (-rpm +got):\n%s", d)
			}
			if age := time.Since(d.Timestamp); age < 0 || age > time.Hour {
				t.Errorf("timestamp %v", d.Timestamp)
			}
		})
	}
}

// TestZstd reads a list compressed with zstd, which Debian's createrepo_c does not write.
func TestZstd(t *testing.T) {
	dir := repository(t, "gz")
	names, err := filepath.Glob(filepath.Join(dir, "repodata/*-primary.xml.gz"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	open := []byte(command(t, "zcat", names[0]))
	packed := pack(t, open, "zstd", "-qc")
	if d := cmp.Diff(asRPMSays(t, dir), readPacked(t, describe("repodata/primary.xml.zst", packed,
		open), packed)); d != "" {
		t.Errorf("packages (-rpm +got):\n%s", d)
	}
}

// readPacked returns all packages, sorted by location.
func readPacked(t *testing.T, d rpmmd.Data, packed []byte) []rpmmd.Package {
	t.Helper()
	r, err := rpmmd.OpenPrimary(t.Context(), d, bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []rpmmd.Package
	if err := rpmmd.ReadPrimary(t.Context(), r, nil, func(p rpmmd.Package) error {
		slices.Sort(p.Provides)
		got = append(got, p)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b rpmmd.Package) int {
		return strings.Compare(a.Location, b.Location)
	})
	return got
}

// asRPMSays returns the packages of a repository as rpm describes them, sorted by location.
func asRPMSays(t *testing.T, dir string) []rpmmd.Package {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*/*/*.rpm"))
	if err != nil || len(names) != 4 {
		t.Fatal(names, err)
	}
	var want []rpmmd.Package
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		f := strings.Fields(command(t, "rpm", "-qp", "--qf", "%{NAME} %{ARCH} %{EVR} "+
			"%{BUILDTIME} %{SOURCERPM}", name))
		p := rpmmd.Package{Name: f[0], Arch: f[1], SourceRPM: f[4], Size: info.Size(),
			FileTime: info.ModTime().Truncate(time.Second).UTC()}
		if p.EVR, err = rpmver.Parse(f[2]); err != nil {
			t.Fatal(err)
		}
		seconds, _ := strconv.ParseInt(f[3], 10, 64)
		p.BuildTime = time.Unix(seconds, 0).UTC()
		p.Location, _ = filepath.Rel(dir, name)
		if p.Checksum, err = digest.OfFile(name); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(command(t, "rpm", "-qp", "--provides", name)) {
			p.Provides = append(p.Provides, strings.TrimSpace(line))
		}
		slices.Sort(p.Provides)
		want = append(want, p)
	}
	return want
}
