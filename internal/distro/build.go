package distro

import (
	"cmp"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
)

// Build describes one released build of one package, as a spec file does. Only Name, Version and
// Release are required.
//
// The Name "glibc" gives the stand-in library with its debuginfo package. Any other name gives a
// package with a script and a text file.
type Build struct {
	Name string // "glibc" or another name
	// for glibc "2.N"; from 2.34 on, libpthread, libdl and librt are part of libc.so.6
	Version string
	Release string // may contain "_", "~" and "^"
	Epoch   int    // 0: none
	// "x86_64" (the default), "i686", "ppc64le", "aarch64"; or "noarch", but not for glibc
	Arch string

	BuildTime   time.Time // in whole seconds; zero means a fixed day in 2025
	Compression string    // of the payload: "zstd" (the default), "gzip", "xz", "bzip2" or "lzma"

	// Variant, from 0 to 1000, moves code and data, as a rebuild with other patches does. Builds of
	// one version with the same Variant have the same code at the same addresses, but different
	// build-ids.
	Variant int

	Unpatchable bool // compiled without -fpatchable-function-entry
	CET         bool // functions begin with endbr64 (x86_64 and i686)
	NoDebuginfo bool // no debuginfo package, as if it were not published
	// bytes of filler in the debuginfo package, compressible to about a third; for benchmarks
	Padding int64
}

// defaultBuildTime is the time of a Build that has none.
var defaultBuildTime = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)

// EVR returns "[EPOCH:]VERSION-RELEASE".
func (b Build) EVR() string {
	if b.Epoch != 0 {
		return fmt.Sprintf("%d:%s-%s", b.Epoch, b.Version, b.Release)
	}
	return b.Version + "-" + b.Release
}

// FileName returns the name of the build's main RPM, "NAME-VERSION-RELEASE.ARCH.rpm".
func (b Build) FileName() string { return b.fileName("") }

// debuginfoFileName returns the name of the build's debuginfo RPM, whether or not it has one.
func (b Build) debuginfoFileName() string { return b.fileName("-debuginfo") }

func (b Build) fileName(sub string) string {
	return fmt.Sprintf("%s%s-%s-%s.%s.rpm", b.Name, sub, b.Version, b.Release,
		cmp.Or(b.Arch, "x86_64"))
}

// HasDebuginfo reports whether a debuginfo RPM is made.
func (b Build) HasDebuginfo() bool { return b.Name == "glibc" && !b.NoDebuginfo }

var (
	namePattern    = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)
	versionPattern = lazyregexp.New(`^[A-Za-z0-9._+~^]+$`)
	libcPattern    = lazyregexp.New(`^2\.([0-9]{1,3})(\.[0-9]+)*$`)
	compressions   = map[string]string{
		"zstd": "w3.zstdio", "gzip": "w6.gzdio", "xz": "w2.xzdio", "bzip2": "w9.bzdio",
		"lzma": "w2.lzdio"}
)

// normal returns b with its defaults filled in, or an error that names the wrong field.
func (b Build) normal() (Build, error) {
	b.Arch = cmp.Or(b.Arch, "x86_64")
	b.Compression = cmp.Or(b.Compression, "zstd")
	if b.BuildTime.IsZero() {
		b.BuildTime = defaultBuildTime
	}
	b.BuildTime = b.BuildTime.UTC().Truncate(time.Second)
	if field, value := b.wrong(); field != "" {
		return Build{}, fmt.Errorf("build %s-%s: %s %q cannot be built", b.Name, b.EVR(), field,
			value)
	}
	return b, nil
}

// wrong returns the first invalid field and its value, or "" if there is none.
func (b Build) wrong() (field, value string) {
	_, payload := compressions[b.Compression]
	_, machine := targets[b.Arch]
	glibc := b.Name == "glibc"
	switch {
	case !namePattern().MatchString(b.Name):
		return "name", b.Name
	case !versionPattern().MatchString(b.Version) || glibc && !libcPattern().MatchString(b.Version):
		return "version", b.Version
	case !versionPattern().MatchString(b.Release):
		return "release", b.Release
	case b.Epoch < 0:
		return "epoch", strconv.Itoa(b.Epoch)
	case !machine && (b.Arch != "noarch" || glibc):
		return "architecture", b.Arch
	case !payload:
		return "payload compression", b.Compression
	case b.Variant < 0 || b.Variant > 1000:
		return "variant", strconv.Itoa(b.Variant)
	case b.CET && b.Arch != "x86_64" && b.Arch != "i686":
		return "architecture with endbr64", b.Arch
	case b.Padding < 0 || b.Padding > 0 && !b.HasDebuginfo():
		return "padding", strconv.FormatInt(b.Padding, 10)
	}
	return "", ""
}

// minor returns the N of version "2.N" of a valid glibc build.
func (b Build) minor() int {
	n, _ := strconv.Atoi(libcPattern().FindStringSubmatch(b.Version)[1])
	return n
}

// target holds the properties of an architecture.
type target struct {
	cross  string   // prefix of another architecture's tools on Debian: gcc is cross + "-gcc"
	debian string   // the package that has it
	suse   string   // likewise on SUSE
	cflags []string // in addition to those of all targets
	nops   string   // for -fpatchable-function-entry
	base   string   // the architecture's oldest symbol version
	lib    string   // directory of libraries
	loader string   // path of the dynamic loader
}

var targets = map[string]target{
	"x86_64": {cross: "x86_64-linux-gnu", debian: "gcc-x86-64-linux-gnu",
		suse: "cross-x86_64-gcc14", nops: "16,14", base: "2.2.5",
		lib: "lib64", loader: "/lib64/ld-linux-x86-64.so.2"},
	"i686": {cross: "i686-linux-gnu", debian: "gcc-i686-linux-gnu", suse: "gcc-32bit",
		nops: "16,14", base: "2.0",
		lib: "lib", loader: "/lib/ld-linux.so.2"},
	// Before gcc had -msplit-patch-nops, one NOP at the entry of a function that sets up its TOC
	// pointer was an assembler error. PC-relative code has no TOC pointer.
	"ppc64le": {cross: "powerpc64le-linux-gnu", debian: "gcc-powerpc64le-linux-gnu",
		suse: "cross-ppc64le-gcc14", nops: "14,13", base: "2.17",
		lib: "lib64", loader: "/lib64/ld64.so.2", cflags: []string{"-mcpu=power10"}},
	"aarch64": {cross: "aarch64-linux-gnu", debian: "gcc-aarch64-linux-gnu",
		suse: "cross-aarch64-gcc14", nops: "14,13", base: "2.17",
		lib: "lib64", loader: "/lib/ld-linux-aarch64.so.1"},
}

// crossGCC returns the cross compiler of a target by Debian's name, or by SUSE's if only that
// exists.
func (t target) crossGCC() string {
	debian := t.cross + "-gcc"
	suse := strings.TrimSuffix(t.cross, "-linux-gnu") + "-suse-linux-gcc"
	for _, name := range []string{debian, suse, suse + "-14"} {
		if _, err := exec.LookPath(name); err == nil {
			return name
		}
	}
	return debian // running it reports what is missing
}

// String returns "NAME-VERSION-RELEASE.ARCH".
func (b Build) String() string { return strings.TrimSuffix(b.FileName(), ".rpm") }
