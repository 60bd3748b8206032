package rpmfile_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/benchtest"
	"github.com/lpbuild/lpbuild/pkg/download/rpmfile"
)

// debuginfoSpec describes a package of about 100 MB with one wanted library at its end.
const debuginfoSpec = `
Name: libdemo-debuginfo
Version: 2.31
Release: 1
Summary: A package for benchmarks
License: MIT
AutoReqProv: no
%description
It is as large as separate debuginfo is.
%install
mkdir -p %{buildroot}/usr/lib64
for i in 1 2 3 4; do cp %{_sourcedir}/library %{buildroot}/usr/lib64/a$i; done
cp %{_sourcedir}/library %{buildroot}/usr/lib64/libwanted.so
%files
/usr/lib64/*
`

// debuginfo returns 20 MB that compress about as well as debuginfo does, by two thirds.
func debuginfo() []byte {
	words := make([][]byte, 4096)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range words {
		words[i] = make([]byte, 2+random.IntN(20))
		for j := range words[i] {
			words[i][j] = byte(random.IntN(256))
		}
	}
	size := benchtest.Size(20_000_000, 1_000_000)
	b := make([]byte, 0, size+1<<10)
	for len(b) < size {
		b = append(b, words[min(random.IntN(len(words)), random.IntN(len(words)))]...)
		b = append(b, byte(random.IntN(256)))
	}
	return b
}

// BenchmarkExtract extracts one library from a large package, and runs the shell tools on it right
// after each time. "x-tools" is the tools' time divided by ours: more than 1 means that ours is
// faster.
func BenchmarkExtract(b *testing.B) {
	data := debuginfo()
	for _, compressor := range []string{"xz", "zstd"} {
		b.Run(compressor, func(b *testing.B) {
			file, err := rpmbuild(compressor, debuginfoSpec, data)
			if err != nil {
				b.Fatal(err)
			}
			var tools, ours time.Duration
			for b.Loop() {
				start := time.Now()
				extractOnce(b, file, data)
				ours += time.Since(start)
				start = time.Now()
				out, err := exec.Command("sh", "-c", "rpm2cpio '"+file+
					"' | cpio --quiet -i --to-stdout ./usr/lib64/libwanted.so").Output()
				if err != nil || sha256.Sum256(out) != sha256.Sum256(data) {
					b.Fatalf("the tools extracted %d bytes: %v", len(out), err)
				}
				tools += time.Since(start)
			}
			b.ReportMetric(float64(tools)/float64(ours), "x-tools")
			b.ReportMetric(float64(ours.Milliseconds())/float64(b.N), "ms-ours/op")
			b.ReportMetric(float64(tools.Milliseconds())/float64(b.N), "ms-tools/op")
		})
	}
}

func extractOnce(b *testing.B, file string, data []byte) {
	root, err := os.OpenRoot(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	got, err := open(b, file).Extract(context.Background(), root,
		[]string{"/usr/lib64/libwanted.so"}, rpmfile.ExtractOptions{})
	if err != nil || got[0].SHA256 != fmt.Sprintf("%x", sha256.Sum256(data)) {
		b.Fatal(got, err)
	}
}
