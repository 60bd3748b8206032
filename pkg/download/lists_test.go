package download_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/internal/distro"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/rpmmd"
)

// TestSHA224 reads a repository whose digests are SHA-224.
func TestSHA224(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1, NoDebuginfo: true})
	if err := distro.MakeRepository(t.Context(), w.repo.Dir, nil,
		distro.RepositoryOptions{Key: w.repo.Key, Checksum: "sha224"}); err != nil {
		t.Fatal(err)
	}
	if got := w.mustRun(t, nil).Lock.Builds[0].RPM.Digest; got.Algorithm != "sha224" {
		t.Errorf("the digest is %s", got)
	}
}

// TestPackageCount reads a list that announces more packages than it has, as some tools write it,
// and rejects one that announces fewer, since its end is then unknown.
func TestPackageCount(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 2, Unsigned: true, NoDebuginfo: true,
		NoBystanders: true})
	restore := w.keepState(t)
	editMetadata(t, w, `packages="2"`, `packages="7"`)
	if n := len(w.mustRun(t, nil).Lock.Builds); n != 2 {
		t.Errorf("%d builds, want 2", n)
	}
	restore()
	editMetadata(t, w, `packages="2"`, `packages="1"`)
	w.newDir(t)
	if _, err := w.run(t, nil); !errors.Is(err, rpmmd.ErrMalformed) ||
		!strings.Contains(err.Error(), "has more") {
		t.Errorf("error is %v", err)
	}
}

// TestEndlessMatches bounds the number of builds that a list can make lpbuild keep.
func TestEndlessMatches(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1, Unsigned: true, NoDebuginfo: true,
		NoBystanders: true})
	editXML(t, w, func(xml []byte) []byte {
		start, end := bytes.Index(xml, []byte("<package ")), bytes.Index(xml, []byte("</metadata>"))
		entry := string(xml[start:end])
		var b bytes.Buffer
		b.Write(bytes.Replace(xml[:start], []byte(`packages="1"`), []byte(`packages="6000"`), 1))
		for i := range 6_000 {
			b.WriteString(strings.Replace(entry, `rel="`, fmt.Sprintf(`rel="%d.`, i), 1))
		}
		b.WriteString("</metadata>")
		return b.Bytes()
	})
	if _, err := w.run(t, func(*download.Request) {}); !errors.Is(err, rpmmd.ErrTooLarge) ||
		!strings.Contains(err.Error(), "5000 builds") {
		t.Errorf("error is %v, want ErrTooLarge", err)
	}
}
