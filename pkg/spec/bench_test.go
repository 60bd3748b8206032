package spec

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/benchtest"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
)

// BenchmarkDist40 makes the source package of 40 builds of a library with as many symbols as
// libc.so.6 (9,000), whose offsets differ in each build. In the same run tar and xz pack the same
// files, as one would without lpbuild.
func BenchmarkDist40(b *testing.B) {
	builds, symbols := benchtest.Size(40, 4), 9000
	c, l, r := benchDir(b, builds, symbols)
	for b.Loop() {
		start := time.Now()
		d, err := Make(b.Context(), c, l, r)
		if err != nil {
			b.Fatal(err)
		}
		ours := time.Since(start)
		b.StopTimer()
		theirs, size := tarAlone(b, d.Archive)
		info, err := os.Stat(d.Archive)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(ours.Seconds(), "dist-s")
		b.ReportMetric(theirs.Seconds(), "tar-s")
		b.ReportMetric(ours.Seconds()/theirs.Seconds(), "ratio")
		b.ReportMetric(float64(info.Size())/float64(size), "size-ratio")
		b.StartTimer()
	}
}

// tarAlone packs the content of an archive with tar, and returns the time and the size.
func tarAlone(b *testing.B, archive string) (time.Duration, int64) {
	b.Helper()
	dir := b.TempDir()
	tar := func(args ...string) {
		b.Helper()
		cmd := exec.Command("tar", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("tar %q: %v: %s", args, err, out)
		}
	}
	tar("-xJf", archive, "--one-top-level=files", "--strip-components=1")
	start := time.Now()
	tar("-cJf", "again.tar.xz", "files")
	took := time.Since(start)
	info, err := os.Stat(filepath.Join(dir, "again.tar.xz"))
	if err != nil {
		b.Fatal(err)
	}
	return took, info.Size()
}

// benchDir returns a package directory with catalogues and a report of builds.
func benchDir(b *testing.B, builds, symbols int) (*config.Config, *download.Lock,
	*buildmatrix.Report) {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "lp")
	files := map[string]string{
		"lpbuild.yaml": strings.Replace(someConfig, "arch: [x86_64, ppc64le]", "arch: [x86_64]", 1),
		"lpbuild.lock": "{}\n",
		"lp.in":        "! CVE-2026-1\nlibc_{version}-{release}_livepatch1.so\n@{library}\nf:g\n",
		"lp.c":         "int g;\n", "lp.changes": someChanges,
	}
	l, r := &download.Lock{}, &buildmatrix.Report{Name: "lp", Version: "1.0",
		Inputs: []string{"lp.c"}}
	for i := range builds {
		release := fmt.Sprintf("150300.%d.1", i+1)
		place := "catalogue/x86_64/SLE-15-SP5/glibc/2.31-" + release
		catalogue, id := benchCatalogue(i, symbols), fmt.Sprintf("%040x", i+1)
		files[place+"/libc.so.6.json"] = string(catalogue)
		l.Builds = append(l.Builds, download.Build{
			Name: "glibc", Version: "2.31", Release: release, Arch: "x86_64",
			RPM: download.File{Digest: digest.OfBytes([]byte(release))},
			Libraries: []download.Library{{Name: "libc.so.6", Path: "/lib64/libc-2.31.so",
				BuildID:   id,
				Catalogue: place + "/libc.so.6.json", Pinned: digest.OfBytes(catalogue)}},
		})
		r.Cells = append(r.Cells, buildmatrix.CellInfo{Status: buildmatrix.Built, Patch: "lp.in",
			Package: "glibc", Version: "2.31",
			Release: release, Arch: "x86_64", Target: id, Container: "libc_2.31-" + release +
				"_livepatch1.so"})
	}
	put(b, dir, files)
	c, err := config.Load(dir)
	if err != nil {
		b.Fatal(err)
	}
	return c, l, r
}

// benchCatalogue returns all names of a build, with offsets and sizes that vary a little from build
// to build.
func benchCatalogue(build, symbols int) []byte {
	names, moves := rand.New(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(3, uint64(build)))
	var text bytes.Buffer
	fmt.Fprintf(&text,
		"{\n\"library\":{\n\"name\":\"libc.so.6\",\n\"buildid\":\"%040x\",\n\"symbols\":[\n", build+
			1)
	at := 0x20000
	for i := range symbols {
		size := 16 + int(names.Uint32()%900)
		if moves.Uint32()%20 == 0 { // functions changed by another fix
			size += int(moves.Uint32() % 64)
		}
		fmt.Fprintf(&text,
			`{"name":"_IO_%x_%s","offset":%d,"size":%d,"st_info":18,"st_other":0,"dynamic":%t,`+
				`"patchable":true}`,
			names.Uint32()>>8, []string{"read", "write", "locked", "internal", "nocancel"}[i%5], at,
			size, i%3 == 0)
		if i < symbols-1 {
			text.WriteString(",\n")
		}
		at += (size + 31) &^ 15
	}
	text.WriteString("\n]\n}\n}\n")
	return text.Bytes()
}
