package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/download"
)

// TestPrintDownload counts builds to be patched, and says what else is in the lock.
func TestPrintDownload(t *testing.T) {
	patched := download.Build{Libraries: []download.Library{{Name: "libc.so.6"}}}
	tests := map[string]struct {
		res  download.Result
		want string
		json []string
	}{
		"builds": {
			download.Result{Lock: &download.Lock{Builds: []download.Build{patched, patched}}, Added: []string{"a-1-1.x86_64"}, Removed: []string{"b-1-1.x86_64"}},
			"new   a-1-1.x86_64\ngone  b-1-1.x86_64\n2 builds in lpbuild.lock\n",
			[]string{`"builds": 2`, `"exports_only": 0`, `"a-1-1.x86_64"`},
		},
		"exports": {
			download.Result{Lock: &download.Lock{Builds: []download.Build{patched, {}, {}}}, Added: []string{}, Removed: []string{}},
			"1 build in lpbuild.lock, 2 more only for their exports\n",
			[]string{`"builds": 1`, `"exports_only": 2`, `"added": []`, `"removed": []`},
		},
		"unsigned": {
			download.Result{Lock: &download.Lock{Repositories: []download.LockedRepository{{Unsigned: true}}, Builds: []download.Build{patched, {}}}},
			"1 build in lpbuild.lock, 1 more only for their exports (UNSIGNED: not all of them are vouched for by a key)\n",
			[]string{`"unsigned": true`},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := printDownload(&console{out: &out, err: &out}, &tc.res); err != nil || out.String() != tc.want {
				t.Errorf("%v: printed %q, want %q", err, out.String(), tc.want)
			}
			out.Reset()
			if err := printDownload(&console{out: &out, err: &out, json: true}, &tc.res); err != nil {
				t.Fatal(err)
			}
			for _, want := range tc.json {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%s is not in %s", want, out.String())
				}
			}
		})
	}
}
