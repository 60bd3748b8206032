package native

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/benchtest"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// residentCycles is how often a live patch is applied and reverted before a process's memory is
// measured.
const residentCycles = 200

// resident is how many pages a process has in memory: of its own, and of files, which it has in
// common with others. Looking at a library brings pages of its file into the process's tables, as
// its own looking would, and they stay.
type resident struct{ own, files int }

var rssLines = regexp.MustCompile(`Rss(Anon|File|Shmem):\s+(\d+) kB`)

func (c *child) resident() resident {
	c.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.pid))
	if err != nil {
		c.t.Fatal(err)
	}
	var r resident
	for _, m := range rssLines.FindAllStringSubmatch(string(b), -1) {
		n, _ := strconv.Atoi(m[2])
		if m[1] == "File" {
			r.files = n * 1024 / pageSize
		} else {
			r.own += n * 1024 / pageSize
		}
	}
	return r
}

// cycled applies and reverts again and again. It returns what the process had in memory before the
// first time, after the first and after the last; and how many pages have code that was changed in
// between, which are the process's own from then on.
func cycled(t testing.TB, cycles, threads int, env ...string) (before, first, last resident,
	code int) {
	t.Helper()
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), threads, env...)
	c.says("all", original)
	before = c.resident()
	pages, o := map[uint64]bool{}, Options{StopTimeout: 10 * time.Second} // on a busy machine
	for n := range cycles {
		c.apply(o, p)
		if n == 0 {
			for _, f := range c.list()[0].Functions {
				pages[f.OldValue/pageSize], pages[(f.OldValue-beforeLen)/pageSize] = true, true
			}
		}
		c.says("all", patched)
		c.change(Change{Revert: everyOne}, o)
		for len(c.list()) > 0 { // a thread was in it
			c.change(Change{}, o)
		}
		if n == 0 {
			first = c.resident()
		}
	}
	return before, first, c.resident(), len(pages)
}

// framePages is how much memory below the first thread's stack is touched to send a thread away.
const framePages = 3

// TestMemoryComesBack: after 200 cycles a process has as much memory of its own as it had, within
// one page for each of its threads and what they need to be sent away; and no more of anything than
// after the first.
func TestMemoryComesBack(t *testing.T) {
	for _, threads := range []int{0, 3} {
		t.Run(fmt.Sprint(threads), func(t *testing.T) {
			before, first, last, code := cycled(t, residentCycles, threads)
			t.Logf("pages before %+v, after the first %+v, after the last %+v; %d of code", before,
				first, last, code)
			if more := last.own - before.own; more > 1+threads+code+framePages {
				t.Errorf("%d pages more than before", more)
			}
			if more := last.own + last.files - first.own - first.files; more > 1+threads {
				t.Errorf("%d pages more than after the first time", more)
			}
		})
	}
}

// BenchmarkResident is by how many pages a process grows in 200 cycles, for each of its threads,
// and by how many pages of its libraries' files once.
func BenchmarkResident(b *testing.B) {
	for _, threads := range []int{1, 64} {
		b.Run(fmt.Sprintf("%dthreads", threads), func(b *testing.B) {
			before, first, last, code := cycled(b, benchtest.Size(residentCycles, 5), threads-1,
				"SPIN=1")
			b.ReportMetric(float64(last.own-before.own-code)/float64(threads),
				"own-pages-more/thread")
			b.ReportMetric(float64(last.own+last.files-first.own-first.files)/float64(threads),
				"pages-more/thread-since-first")
			b.ReportMetric(float64(last.files+code-before.files), "file-pages-more-once")
			b.ReportMetric(0, "ns/op")
		})
	}
}

var rollupLines = regexp.MustCompile(`(?m)^(Rss|Pss|Private_Dirty):\s+(\d+) kB`)

// memoryOf returns what a process costs, in KiB: by what it has in memory, by its share of that,
// and by what is its own.
func (c *child) memoryOf() map[string]int {
	c.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", c.pid))
	if err != nil {
		c.t.Fatal(err)
	}
	m := map[string]int{}
	for _, l := range rollupLines.FindAllStringSubmatch(string(b), -1) {
		m[l[1]], _ = strconv.Atoi(l[2])
	}
	return m
}

// TestFirstPatchCost: the first live patch of eight functions costs a process less than 0.1 MiB of
// its own.
func TestFirstPatchCost(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 0)
	c.says("all", original)
	before := c.memoryOf()
	c.apply(Options{}, p)
	c.says("all", patched)
	after := c.memoryOf()
	t.Logf("KiB before %v, after %v", before, after)
	if more := after["Private_Dirty"] - before["Private_Dirty"]; more > 100 {
		t.Errorf("%d KiB more of its own", more)
	}
}
