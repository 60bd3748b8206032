package buildmatrix

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/benchtest"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// shellLoop is what one would write instead: for each build compile, extract the symbols, and embed
// three sections.
const shellLoop = `set -e
for lib in libs/*.so; do
  n=$(basename $lib .so)
  gcc -O2 -fPIC -fpatchable-function-entry=16,14 -shared -Wl,--build-id=sha1 \
    -o out/$n.so toy_livepatch1.c
  readelf -sW $lib | awk '$8 != "" { print $2, $3, $8 }' > out/$n.symbols
  grep -q ' f4711' out/$n.symbols
  for s in .ulp .ulp.rev .ulp.comments; do
    objcopy --remove-section=$s --add-section $s=section out/$n.so out/$n.tmp &&
      mv out/$n.tmp out/$n.so
  done
done
`

// BenchmarkBuild40 makes containers for 40 builds of a library as large as libc.so.6 (9,000
// functions) from nothing, and lets the shell loop do the same in the same run. The aim is a ratio
// of at most 0.1.
func BenchmarkBuild40(b *testing.B) {
	builds := benchtest.Size(40, 4)
	dir := b.TempDir()
	libs := manyFunctions(b, dir)
	for b.Loop() {
		b.StopTimer()
		f := benchPackage(b, libs, builds)
		c, err := config.Load(f.dir)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		start := time.Now()
		r, err := Build(b.Context(), c, f.lock, Options{})
		if err != nil {
			b.Fatal(err, reasonText(r))
		}
		ours := time.Since(start)
		b.StopTimer()
		shell := runShellLoop(b, libs, builds)
		b.ReportMetric(ours.Seconds(), "lpbuild-s")
		b.ReportMetric(shell.Seconds(), "shell-s")
		b.ReportMetric(ours.Seconds()/shell.Seconds(), "ratio")
		start = time.Now()
		if _, err := Build(b.Context(), c, f.lock, Options{}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(start).Seconds(), "again-s")
		b.StartTimer()
	}
}

// manyFunctions returns the images of four builds of a library with 9,000 functions, a third of
// them exported.
func manyFunctions(b *testing.B, dir string) [][]byte {
	b.Helper()
	var source strings.Builder
	for i := range benchtest.Size(9000, 500) {
		static := "static __attribute__((used)) "
		if i%3 == 0 {
			static = ""
		}
		fmt.Fprintf(&source, "%sint f%d(int a) { return a * %d + VARIANT; }\n", static, i, i)
	}
	source.WriteString("__attribute__((used)) int f4711_target(int a) { return a; }\n")
	name := filepath.Join(dir, "many.c")
	if err := os.WriteFile(name, []byte(source.String()), 0o644); err != nil {
		b.Fatal(err)
	}
	var images [][]byte
	for variant := range 4 {
		out := filepath.Join(dir, "many.so")
		cmd := exec.Command("gcc", "-O1", "-fPIC", "-shared", "-fpatchable-function-entry=16,14",
			"-Wl,--build-id=sha1", fmt.Sprintf("-DVARIANT=%d", variant), "-o", out, name)
		if text, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, text)
		}
		image, err := os.ReadFile(out)
		if err != nil {
			b.Fatal(err)
		}
		images = append(images, image)
	}
	return images
}

func benchPackage(b *testing.B, libs [][]byte, builds int) *packageDir {
	b.Helper()
	dir := b.TempDir()
	f := &packageDir{dir: dir, lock: &download.Lock{Format: download.LockFormat, Product: "TOY"}}
	files := map[string]string{
		"toy_livepatch1.in": "! CVE-2026-0001\nlibtoy_{version}-{release}_livepatch1.so\n" +
			"@{library}\nf4711_target:f_lp\n",
		"toy_livepatch1.c": benchSource,
		config.FileName: "name: toy-livepatches\nversion: \"1\"\nproduct: TOY\narch: [x86_64]\n" +
			"license: MIT\nrepositories: [{url: /nowhere, unsigned: true}]\n" +
			"packages: [{name: toy}]\npatches: [{library: libtoy.so.1, description: " +
			"toy_livepatch1.in, sources: [toy_livepatch1.c]}]\n",
	}
	for i := range builds {
		lib, err := symtab.ParseLibrary(libs[i%len(libs)], nil, "libtoy.so.1")
		if err != nil {
			b.Fatal(err)
		}
		release := fmt.Sprintf("150300.%d.1", i)
		place := "catalogue/x86_64/TOY/toy/2.31-" + release
		catalogue := lib.AppendCatalogue(nil)
		files[place+"/libtoy.so.1.json"] = string(catalogue)
		f.lock.Builds = append(f.lock.Builds, download.Build{
			Name: "toy", Version: "2.31", Release: release, Arch: "x86_64",
			RPM: download.File{Digest: digest.OfBytes([]byte(release))},
			Libraries: []download.Library{{
				Name: "libtoy.so.1", Path: "/usr/lib64/libtoy.so.1",
				BuildID:   fmt.Sprintf("%x", lib.BuildID),
				Catalogue: place + "/libtoy.so.1.json", Pinned: digest.OfBytes(catalogue),
			}},
		})
	}
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return f
}

const benchSource = "int f_lp(int a) { return a + 1000; }\n"

func runShellLoop(b *testing.B, libs [][]byte, builds int) time.Duration {
	b.Helper()
	dir := b.TempDir()
	for _, d := range []string{"libs", "out"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	for i := range builds {
		if err := os.WriteFile(fmt.Sprintf("%s/libs/libtoy_2.31-150300.%d.1.so", dir, i),
			libs[i%len(libs)], 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for name, text := range map[string]string{"toy_livepatch1.c": benchSource,
		"section": strings.Repeat("x", 200)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	cmd := exec.Command("sh", "-c", shellLoop)
	cmd.Dir = dir
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return time.Since(start)
}
