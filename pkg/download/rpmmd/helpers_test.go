package rpmmd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/rpmmd"
)

// spec makes three binary packages; EPOCH is replaced.
const spec = `
Name: mini
Version: 1.0~rc1
Release: 2^git1
EPOCH
Summary: A & <b>
License: MIT
%description
]]> <package> <name>glibc</name>
%package -n mini-debuginfo
Summary: d
Provides: debuginfo(build-id) = 0123456789abcdef
Provides: old < 1:2.3-4
%description -n mini-debuginfo
d
%install
mkdir -p %{buildroot}/usr/share/mini; echo hi >%{buildroot}/usr/share/mini/a
%files
/usr/share/mini
%files -n mini-debuginfo
`

// rpms returns a directory with real packages, which are built once and removed by TestMain.
var rpms = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "rpmmd")
	if err != nil {
		return "", err
	}
	rpmsDir = dir
	for i, epoch := range []string{"", "Epoch: 3"} {
		name := filepath.Join(dir, "mini.spec")
		if err := os.WriteFile(name, []byte(strings.Replace(spec, "EPOCH", epoch, 1)),
			0o600); err != nil {
			return "", err
		}
		out, err := exec.Command("rpmbuild", "-bb", "--define", "_topdir "+dir, "--define",
			fmt.Sprintf("_rpmdir %s/RPMS/%d", dir, i), name).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("rpmbuild: %w: %s", err, out)
		}
	}
	return dir, nil
})

// rpmsDir is that directory, once it exists.
var rpmsDir string

func removeRPMs() {
	if rpmsDir != "" {
		os.RemoveAll(rpmsDir)
	}
}

// repository returns a directory with packages and the output of createrepo_c for them in some
// compression.
func repository(t *testing.T, compression string) string {
	t.Helper()
	built, err := rpms()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(built, "RPMS"))); err != nil {
		t.Fatal(err)
	}
	command(t, "createrepo_c", "-q", "--no-database", "--general-compress-type="+compression, dir)
	return dir
}

// command runs a command and returns its output.
func command(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		t.Fatalf("%s: %v", name, err)
	}
	return string(out)
}

// pack compresses data with a tool.
func pack(t testing.TB, data []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return out
}

// describe returns the entry of repomd.xml for a packed primary.xml.
func describe(location string, packed, open []byte) rpmmd.Data {
	return rpmmd.Data{
		Type: "primary", Location: location, Checksum: digest.OfBytes(packed),
		OpenChecksum: digest.OfBytes(open),
		Size:         int64(len(packed)), OpenSize: int64(len(open)),
	}
}

// readAll returns the wanted packages of a primary.xml.
func readAll(ctx context.Context, document string, names ...string) ([]rpmmd.Package, error) {
	var found []rpmmd.Package
	err := rpmmd.ReadPrimary(ctx, strings.NewReader(document), wanted(names),
		func(p rpmmd.Package) error {
			found = append(found, p)
			return nil
		})
	return found, err
}

// wanted returns a filter for names; without names it accepts all.
func wanted(names []string) func(string) bool {
	if len(names) == 0 {
		return nil
	}
	return func(name string) bool {
		return slices.Contains(names, name)
	}
}

// document returns a primary.xml with the elements, which announces n packages.
func document(n int, elements ...string) string {
	return fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?>
<metadata xmlns="http://linux.duke.edu/metadata/common"
 xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="%d">
%s</metadata>
`, n, strings.Join(elements, "\n"))
}

// entry returns a package's element.
func entry(name string) string { return entryWith("<name>" + name + "</name>") }

// entryWith returns an element whose name is written in an unusual way. It has only the required
// parts.
func entryWith(name string) string {
	return `<package type="rpm">` + name +
		`<arch>x86_64</arch><version epoch="0" ver="2.31" rel="150300.9"/>` +
		`<checksum type="sha256" pkgid="YES">` + strings.Repeat("ab", 32) +
		`</checksum><size package="7"/>` +
		`<location href="x86_64/a.rpm"/></package>`
}
