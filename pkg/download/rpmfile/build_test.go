package rpmfile_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/lpbuild/lpbuild/internal/pgptest"
	"github.com/lpbuild/lpbuild/pkg/download/rpmfile"
)

var work string // a directory for all tests of the binary

func TestMain(m *testing.M) {
	var err error
	if work, err = os.MkdirTemp("", "rpmfile"); err != nil {
		panic(err)
	}
	code := pgptest.Main(m)
	_ = os.RemoveAll(work)
	os.Exit(code)
}

// modes are the compressions of payloads in rpmbuild's spelling.
var modes = map[string]string{
	"gzip": "w9.gzdio", "xz": "w3.xzdio", "zstd": "w3.zstdio", "bzip2": "w9.bzdio",
	"lzma": "w6.lzdio", "": "w.ufdio",
}

// library returns the content of the package's library, half of which compresses.
var library = sync.OnceValue(func() []byte {
	random := rand.NewChaCha8([32]byte{1})
	b := make([]byte, 300_001)
	_, _ = random.Read(b[:150_000])
	copy(b[150_000:], bytes.Repeat([]byte("nop nop "), 20_000))
	return b
})

// spec describes a package like glibc up to 2.33.
const spec = `
Name: libdemo
Epoch: 2
Version: 2.31
Release: 150300.26.5
Summary: A package for tests
License: MIT
AutoReqProv: no
%description
It has what the packages of real libraries have.
%install
root=%{buildroot}
mkdir -p $root/lib64 $root/usr/lib64/gconv $root/usr/lib/demo $root/usr/share/demo
mkdir -p $root/var/lib/demo $root/opt/lib/a $root/opt/lib/b
cp %{_sourcedir}/library $root/lib64/libdemo-2.31.so
chmod 0755 $root/lib64/libdemo-2.31.so
touch -d @1700000000 $root/lib64/libdemo-2.31.so
ln -s libdemo-2.31.so $root/lib64/libdemo.so.6
ln -s /lib64/libdemo.so.6 $root/usr/lib64/libdemo.so
echo gconv > $root/usr/lib64/gconv/ISO-2022-CN-EXT.so
echo hard > $root/usr/lib64/libhard-1.so
ln $root/usr/lib64/libhard-1.so $root/usr/lib64/libhard-2.so
ln $root/usr/lib64/libhard-1.so $root/usr/lib64/libhard-3.so
touch $root/usr/lib64/libempty.so
echo 64 > $root/usr/lib64/libtwice.so.1
echo demo > $root/usr/lib/demo/libtwice.so.1
echo a > $root/opt/lib/a/libsame.so
echo b > $root/opt/lib/b/libsame.so
ln -s nowhere $root/usr/lib64/libdangling.so
ln -s ../../../../../../lib64/libdemo.so.6 $root/usr/lib64/libup.so
echo 'not a library' > $root/usr/share/demo/libdemo.so.6
touch $root/var/lib/demo/ghost.so
%files
/lib64/*
/usr/lib64/*
/usr/lib/demo
/usr/share/demo
/opt/lib
%ghost /var/lib/demo/ghost.so
`

var built sync.Map // compressor → func() (string, error)

// pkg returns the path of the unsigned package with the given compressor.
func pkg(tb testing.TB, compressor string) string {
	tb.Helper()
	once, _ := built.LoadOrStore(compressor, sync.OnceValues(func() (string, error) {
		return rpmbuild(compressor, spec, library())
	}))
	p, err := once.(func() (string, error))()
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// rpmbuild makes a package whose only source is a file called library.
func rpmbuild(compressor, spec string, library []byte) (string, error) {
	top, err := os.MkdirTemp(work, "top")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Join(top, "SOURCES"), 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(top, "SOURCES", "library"), library, 0o644); err != nil {
		return "", err
	}
	file := filepath.Join(top, "package.spec")
	if err := os.WriteFile(file, []byte(spec), 0o644); err != nil {
		return "", err
	}
	out, err := exec.Command("rpmbuild", "-bb", "--quiet", "--target", "x86_64", "--define",
		"_topdir "+top,
		"--define", "_binary_payload "+modes[compressor], "--define", "__os_install_post %{nil}",
		"--define", "_build_id_links none", "--define", "debug_package %{nil}",
		file).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("rpmbuild: %w\n%s", err, out)
	}
	paths, err := filepath.Glob(filepath.Join(top, "RPMS", "*", "*.rpm"))
	if err != nil || len(paths) != 1 {
		return "", fmt.Errorf("rpmbuild made %v (%w)", paths, err)
	}
	return paths[0], nil
}

// sign returns a copy of the gzip package signed by rpmsign with key, using the real gpg, or gpg1
// for version 3.
func sign(t *testing.T, key *pgptest.Key, v3 bool, args ...string) string {
	t.Helper()
	signed := filepath.Join(t.TempDir(), "signed.rpm")
	write(t, signed, bytesOf(t, pkg(t, "gzip")))
	gpg, home, extra := "gpg", key.Home, "--batch --pinentry-mode loopback"
	if v3 {
		gpg, home, extra = "gpg1", key.Home1(t), "--batch --no-tty --force-v3-sigs"
	}
	gpg, err := exec.LookPath(gpg)
	if err != nil {
		t.Fatal(err)
	}
	if key.Kind == pgptest.Expired {
		extra += " --faked-system-time 20200601T000000"
	}
	all := append([]string{"--addsign", "--define", "__gpg " + gpg, "--define", "_gpg_name " +
		key.Fingerprint,
		"--define", "_gpg_digest_algo sha256", "--define", "_gpg_sign_cmd_extra_args " +
			extra}, args...)
	cmd := exec.Command("rpmsign", append(all, signed)...)
	cmd.Env = append(os.Environ(), "GNUPGHOME="+home)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("rpmsign: %v\n%s", err, out)
	}
	return signed
}

// query returns rpm's own output about a package.
func query(t *testing.T, path, format string) string {
	t.Helper()
	out, err := exec.Command("rpm", "-qp", "--nosignature", "--qf", format, path).Output()
	if err != nil {
		t.Fatalf("rpm -qp %s: %v", path, err)
	}
	return strings.TrimSuffix(string(out), "\n")
}

func open(tb testing.TB, path string) *rpmfile.RPM {
	tb.Helper()
	r, err := rpmfile.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// parse opens a package in memory.
func parse(tb testing.TB, data []byte) *rpmfile.RPM {
	tb.Helper()
	r, err := rpmfile.New(bytes.NewReader(data), int64(len(data)), "crafted.rpm")
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func bytesOf(tb testing.TB, path string) []byte {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func write(tb testing.TB, path string, data []byte) {
	tb.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		tb.Fatal(err)
	}
}
