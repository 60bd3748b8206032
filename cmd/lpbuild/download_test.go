package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// TestPrintDownload checks the lines and the JSON that download prints.
func TestPrintDownload(t *testing.T) {
	patched := download.Build{Libraries: []download.Library{{Name: "libc.so.6"}}}
	tests := map[string]struct {
		res  download.Result
		want string
		json []string
	}{
		"builds": {
			download.Result{Lock: &download.Lock{Builds: []download.Build{patched, patched}},
				Added: []string{"a-1-1.x86_64"}, Removed: []string{"b-1-1.x86_64"}},
			"new   a-1-1.x86_64\ndrop  b-1-1.x86_64\n2 builds in lpbuild.lock\nnext: lpbuild " +
				"build\n",
			[]string{`"builds": 2`, `"exports_only": 0`, `"a-1-1.x86_64"`},
		},
		"exports": {
			download.Result{Lock: &download.Lock{Builds: []download.Build{patched, {}, {}}},
				Added: []string{}, Removed: []string{}},
			"1 build in lpbuild.lock, 2 more only for their exports\nnext: lpbuild build\n",
			[]string{`"builds": 1`, `"exports_only": 2`, `"added": []`, `"removed": []`},
		},
		"gone and odd": {
			download.Result{
				Lock: &download.Lock{Builds: []download.Build{patched,
					{Gone: "2026-01-02", Libraries: patched.Libraries}}},
				Gone: []string{"a-1-1.x86_64"},
				Odd: []download.OddBuild{{Name: "b-1-2.x86_64", Version: "1-2",
					Err: symtab.ErrUnsupported}},
			},
			"gone  a-1-1.x86_64 (in no repository any more; kept until lpbuild download " +
				"--forget)\n" +
				"2 builds in lpbuild.lock, 1 of them in no repository any more\n",
			[]string{`"gone": [`, `"a-1-1.x86_64"`, `"odd": [`, `"b-1-2.x86_64"`},
		},
		"unsigned": {
			download.Result{
				Lock: &download.Lock{Repositories: []download.LockedRepository{{Unsigned: true}},
					Builds: []download.Build{patched, {}}}},
			"1 build in lpbuild.lock, 1 more only for their exports (UNSIGNED: not all of them " +
				"are verified by a key)\nnext: lpbuild build\n",
			[]string{`"unsigned": true`},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := printDownload(&console.Console{Out: &out, Err: &out}, &globalOptions{},
				&tc.res); err != nil || out.String() != tc.want {
				t.Errorf("%v: printed %q, want %q", err, out.String(), tc.want)
			}
			out.Reset()
			if err := printDownload(&console.Console{Out: &out, Err: &out, JSON: true},
				&globalOptions{}, &tc.res); err != nil {
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

// TestOddBuilds checks that a faulty build gives exit code 1 and a hint how to go on without it.
func TestOddBuilds(t *testing.T) {
	if err := oddBuilds(nil); err != nil {
		t.Errorf("no odd build is the error %v", err)
	}
	err := oddBuilds([]download.OddBuild{{Name: "b-1-2.x86_64", Version: "1-2",
		Err: symtab.ErrUnsupported}})
	if code := lpbuild.ExitCode(err); code != console.ExitError {
		t.Errorf("exit code %d, want %d", code, console.ExitError)
	}
	want := "error: b-1-2.x86_64 is left out: " + symtab.ErrUnsupported.Error() + "\n" +
		"  hint: exclude it with builds: \"!= 1-2\" for its package in lpbuild.yaml\n"
	if got := diag.Render(err, false); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
