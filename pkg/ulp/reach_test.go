package ulp_test

import (
	"cmp"
	"debug/elf"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// reachOf are the libraries of the table, the percentage of their exported functions that have to
// be replaceable, and functions that have to be among them.
var reachOf = []struct {
	name   string
	goal   float64
	wanted []string
}{
	{"libz.so.1", 95, []string{"inflate", "deflate", "crc32"}},
	{"libcrypto.so.3", 90, []string{"EVP_DigestUpdate"}},
	{"libssl.so.3", 90, nil},
	{"libc.so.6", 90, []string{"free", "qsort", "realpath", "__snprintf_chk", "posix_spawn",
		"tcflush"}},
	{"libpthread.so.0", 0, nil}, // a part of libc since glibc 2.34
	{"libstdc++.so.6", 90, nil},
}

// TestReach prints how many functions that stock libraries export the native engine can replace,
// and why not the others.
func TestReach(t *testing.T) {
	for _, r := range reachOf {
		path := ""
		for _, dir := range []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64",
			"/usr/lib64"} {
			if p := filepath.Join(dir, r.name); path == "" {
				if _, err := os.Stat(p); err == nil {
					path = p
				}
			}
		}
		if path == "" {
			t.Logf("%s: not on this machine", r.name)
			continue
		}
		l, err := symtab.OpenLibrary(path, symtab.LibraryOptions{Prove: true})
		if err != nil {
			t.Fatal(err)
		}
		byWhy, seen := map[string][]string{}, map[uint64]bool{}
		for s := range l.Symbols() {
			if s.Undefined || !s.Dynamic || s.Type() != elf.STT_FUNC || seen[s.Value] {
				continue
			}
			seen[s.Value] = true
			why, ok := l.EntryProof(s.Value)
			if !ok {
				why = "" // it has the NOPs
			}
			byWhy[why] = append(byWhy[why], s.Name)
		}
		if len(seen) == 0 {
			t.Logf("%s: exports no functions", r.name)
			continue
		}
		share := 100 * float64(len(byWhy[""])) / float64(len(seen))
		t.Logf("%-16s %5d functions, %5.1f %% replaceable", r.name, len(seen), share)
		if share < r.goal {
			t.Errorf("%s: less than %.0f %%", r.name, r.goal)
		}
		for _, name := range r.wanted {
			found := false
			for _, f := range l.LookupAll(name) { // every version of it
				if f.Undefined || !f.Dynamic || f.Type() != elf.STT_FUNC {
					continue
				}
				found = true
				if why, _ := l.EntryProof(f.Value); why != "" {
					t.Errorf("%s@%s of %s: %s", name, f.Version, r.name, why)
				}
			}
			if !found {
				t.Errorf("%s has no %s", r.name, name)
			}
		}
		whys := slices.SortedFunc(maps.Keys(byWhy), func(a, b string) int {
			return cmp.Compare(len(byWhy[b]), len(byWhy[a]))
		})
		for _, why := range whys {
			if why != "" {
				t.Logf("%16s %5d %s: %.120q", "", len(byWhy[why]), why,
					byWhy[why][:min(5, len(byWhy[why]))])
			}
		}
	}
}
