package decompress_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/benchtest"
	"github.com/lpbuild/lpbuild/pkg/download/decompress"
)

// BenchmarkReader alternates between this package and the command-line tool, on some 50 MB of
// programs, one of them with its DWARF, as in packages and their debuginfo. "ratio" is our time
// over the tool's. It should not exceed 1, except when decoding in this process.
func BenchmarkReader(b *testing.B) {
	cc1, err := exec.CommandContext(b.Context(), "gcc", "-print-prog-name=cc1").Output()
	if err != nil {
		b.Fatal(err)
	}
	var data []byte
	for _, name := range []string{"/proc/self/exe", strings.TrimSpace(string(cc1)),
		must(exec.LookPath("gdb"))} {
		program, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		data = append(data, program...)
	}
	data = data[:benchtest.Size(len(data), 2_000_000)]
	all := append(ways, way{name: "xz of many blocks", format: decompress.XZ,
		tool: "xz -c -T2 --block-size=8MiB"})
	for _, w := range all {
		b.Run(w.name, func(b *testing.B) { w.benchmark(b, data) })
	}
}

func (w way) benchmark(b *testing.B, data []byte) {
	name := filepath.Join(b.TempDir(), "packed")
	if err := os.WriteFile(name, pack(b, w.tool, data), 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	tool := strings.Fields(w.tool)[0]
	var ours, theirs time.Duration
	for b.Loop() {
		start := time.Now()
		f, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		r, err := decompress.NewReader(b.Context(), w.format, f,
			decompress.Options{NoSystemXZ: w.inside})
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, r); n != int64(len(data)) || err != nil {
			b.Fatal(n, err)
		}
		r.Close()
		f.Close()
		ours += time.Since(start)
		b.StopTimer()
		start = time.Now()
		command := fmt.Sprintf("%s -dc --format=%s <'%s' | cat >/dev/null", tool, w.format, name)
		if tool != "xz" {
			command = fmt.Sprintf("%s -dc <'%s' | cat >/dev/null", tool, name)
		}
		if out, err := exec.CommandContext(b.Context(), "sh", "-c",
			command).CombinedOutput(); err != nil {
			b.Fatal(err, string(out))
		}
		theirs += time.Since(start)
		b.StartTimer()
	}
	b.ReportMetric(float64(ours)/float64(theirs), "ratio")
}

func must(s string, err error) string {
	if err != nil {
		panic(err)
	}
	return s
}
