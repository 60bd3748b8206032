package rpmmd_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/benchtest"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/rpmmd"
)

// childEnv holds "file packed-digest open-digest size open-size" for a child process that only
// reads that file.
const childEnv = "LPBUILD_TEST_READ_PRIMARY"

func TestMain(m *testing.M) {
	if args := strings.Fields(os.Getenv(childEnv)); len(args) > 0 {
		if err := readPrimaryFile(context.Background(), args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	removeRPMs()
	os.Exit(code)
}

// readPrimaryFile prints how many builds of glibc the file has, and the peak memory of this process
// in KiB. (The parent's maxrss for the child includes the parent's own memory from before the
// exec.)
func readPrimaryFile(ctx context.Context, args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	d := rpmmd.Data{Type: "primary", Location: filepath.Base(args[0])}
	d.Checksum, _ = digest.Parse(args[1])
	d.OpenChecksum, _ = digest.Parse(args[2])
	d.Size, _ = strconv.ParseInt(args[3], 10, 64)
	d.OpenSize, _ = strconv.ParseInt(args[4], 10, 64)
	r, err := rpmmd.OpenPrimary(ctx, d, f)
	if err != nil {
		return err
	}
	defer r.Close()
	n := 0
	err = rpmmd.ReadPrimary(ctx, r, func(name string) bool {
		return name == "glibc" || name == "glibc-debuginfo"
	},
		func(rpmmd.Package) error { n++; return nil })
	if err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fmt.Println(n, strings.Fields(rest)[0])
	return err
}

// BenchmarkPrimary900MB reads a generated primary.xml.gz of 900 MB uncompressed (LPBUILD_PRIMARY_MB
// overrides the size) in a process of its own, and runs zcat on the same file. "ratio" is our time
// over zcat's, at most 2; "MiB-RSS" is the peak memory of our process, at most 64.
func BenchmarkPrimary900MB(b *testing.B) {
	size := int64(benchtest.Size(900, 20))
	if s := os.Getenv("LPBUILD_PRIMARY_MB"); s != "" {
		var err error
		if size, err = strconv.ParseInt(s, 10, 64); err != nil {
			b.Fatal(err)
		}
	}
	args, wanted := generatePrimary(b, size*1_000_000)
	b.SetBytes(size * 1_000_000)
	var ours, theirs time.Duration
	rss := int64(0)
	for b.Loop() {
		start := time.Now()
		packages, kib := readInChild(b, args)
		ours += time.Since(start)
		if packages != wanted {
			b.Fatalf("%d packages, want %d", packages, wanted)
		}
		rss = max(rss, kib)
		b.StopTimer()
		start = time.Now()
		if err := exec.CommandContext(b.Context(), "sh", "-c", "zcat '"+args[0]+
			"' > /dev/null").Run(); err != nil {
			b.Fatal(err)
		}
		theirs += time.Since(start)
		b.StartTimer()
	}
	b.ReportMetric(float64(ours)/float64(theirs), "ratio")
	b.ReportMetric(float64(rss)/1024, "MiB-RSS")
}

// readInChild returns the output of readPrimaryFile in another process.
func readInChild(tb testing.TB, args []string) (packages int, kib int64) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(args, " "))
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		tb.Fatalf("child: %v", err)
	}
	if _, err := fmt.Sscan(string(text), &packages, &kib); err != nil {
		tb.Fatalf("child: %q: %v", text, err)
	}
	return packages, kib
}

// generatePrimary writes a primary.xml.gz of about size bytes uncompressed, and returns the child's
// arguments and the number of packages to find.
func generatePrimary(tb testing.TB, size int64) (args []string, wanted int) {
	name := filepath.Join(tb.TempDir(), "primary.xml.gz")
	f, err := os.Create(name)
	if err != nil {
		tb.Fatal(err)
	}
	packed, open := &sum{Hash: sha256.New()}, &sum{Hash: sha256.New()}
	z := gzip.NewWriter(io.MultiWriter(f, packed))
	w := bufio.NewWriterSize(io.MultiWriter(z, open), 1<<20)
	fmt.Fprint(w, header)
	r := rand.New(rand.NewPCG(1, 2))
	for i := 0; open.n < size; i++ {
		name := []string{"kernel-default", "python3-base", "texlive-collection", "glibc",
			"libfoo-devel"}[r.IntN(5)]
		if name == "glibc" && i%50 != 0 {
			name = "glibc-extra"
		}
		if name == "glibc" {
			wanted++
		}
		generatePackage(w, r, name)
	}
	fmt.Fprint(w, "</metadata>\n")
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
	return []string{name, packed.String(), open.String(), fmt.Sprint(packed.n), fmt.Sprint(open.n)},
		wanted
}

const header = `<?xml version="1.0" encoding="UTF-8"?>
<metadata xmlns="http://linux.duke.edu/metadata/common"
 xmlns:rpm="http://linux.duke.edu/metadata/rpm">
`

// generatePackage writes an entry as large and as compressible as those of an update repository:
// some kilobytes, mostly provides and requires, with digests and build-ids in between.
func generatePackage(w io.Writer, r *rand.Rand, name string) {
	version := fmt.Sprintf(`ver="2.%d" rel="150%d00.%d.%d"`, r.IntN(40), r.IntN(7), r.IntN(90),
		r.IntN(9))
	hex := func() string {
		return fmt.Sprintf("%016x%016x%016x%016x", r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64())
	}
	fmt.Fprintf(w, `<package type="rpm">
  <name>%s</name>
  <arch>x86_64</arch>
  <version epoch="0" %s/>
  <checksum type="sha256" pkgid="YES">%s</checksum>
  <summary>Standard shared libraries (from the GNU C Library)</summary>
  <description>The GNU C Library provides the most important standard libraries used
by nearly all programs: the standard C library, the standard math
library, and the POSIX thread library. A system is not functional
without these libraries &amp; more.</description>
  <packager>https://www.suse.com/</packager>
  <url>https://www.gnu.org/software/libc/libc.html</url>
  <time file="%d" build="%d"/>
  <size package="%d" installed="%d" archive="%d"/>
  <location href="x86_64/%s-2.31.x86_64.rpm"/>
  <format>
    <rpm:license>LGPL-2.1-or-later</rpm:license>
    <rpm:vendor>SUSE LLC &lt;https://www.suse.com/&gt;</rpm:vendor>
    <rpm:sourcerpm>%s.src.rpm</rpm:sourcerpm>
    <rpm:header-range start="6200" end="%d"/>
    <rpm:provides>
`, name, version, hex(), 1.6e9+r.IntN(1e8), 1.6e9+r.IntN(1e8), r.IntN(1e7), r.IntN(1e7),
		r.IntN(1e7), name, name, r.IntN(1e6))
	fmt.Fprintf(w, "      <rpm:entry name=\"debuginfo(build-id)\" flags=\"EQ\" epoch=\"0\" "+
		"ver=\"%s\"/>\n", hex()[:40])
	for range r.IntN(120) {
		fmt.Fprintf(w, "      <rpm:entry name=\"ksym(default:sym%d)\" flags=\"EQ\" epoch=\"0\" "+
			"ver=\"%x\"/>\n", r.IntN(9000), r.Uint32())
	}
	fmt.Fprint(w, "    </rpm:provides>\n    <rpm:requires>\n")
	for range r.IntN(40) {
		fmt.Fprintf(w, "      <rpm:entry name=\"lib%d.so.%d(GLIBC_2.%d)(64bit)\"/>\n", r.IntN(900),
			r.IntN(9), r.IntN(40))
	}
	fmt.Fprint(w, "    </rpm:requires>\n    <file>/usr/lib64/libc.so.6</file>\n  "+
		"</format>\n</package>\n")
}

// sum hashes and counts.
type sum struct {
	hash.Hash
	n int64
}

func (s *sum) Write(p []byte) (int, error) {
	s.n += int64(len(p))
	return s.Hash.Write(p)
}

func (s *sum) String() string { return fmt.Sprintf("sha256:%x", s.Sum(nil)) }
