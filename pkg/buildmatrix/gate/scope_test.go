package gate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// TestTargetImports: what the patched library cannot be loaded without is there, also without a
// version and in whatever library.
func TestTargetImports(t *testing.T) {
	lib, err := symtab.ParseCatalogue([]byte(`{"library": {"name": "libtoy.so.1", "buildid": "` +
		strings.Repeat("ab", 20) + `", "symbols": [` + `{"name": "plain", "offset": 0, "size": ` +
		`0, "st_info": 18, "st_other": 0, "dynamic": true, "undefined": true},` +
		`{"name": "weak", "offset": 0, "size": 0, "st_info": 34, "st_other": 0, "dynamic": true, ` +
		`"undefined": true},` +
		`{"name": "hidden", "offset": 16, "size": 4, "st_info": 2, "st_other": 0}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	s := NewScope(nil, lib, nil, nil)
	for name, want := range map[string]bool{"plain": true, "weak": false, "hidden": false,
		"nowhere": false} {
		if problem, _ := s.symbolProblem(symtab.Undefined{Name: name}); (problem == "") != want {
			t.Errorf("%s: %q", name, problem)
		}
	}
}

// TestScopeFollowsEveryBuild: of what another package's library needs only that counts that it
// needs in each build.
func TestScopeFollowsEveryBuild(t *testing.T) {
	target := &symtab.Library{Name: "libtoy.so.1", Needed: []string{"liba.so"}}
	build := func(needed ...string) Exports { return Exports{"liba.so": {needed: needed}} }
	s := NewScope(nil, target, nil, []Exports{build("libb.so", "libc.so"),
		build("libc.so", "libd.so"), {"ld64.so.2": {}}})
	if got := fmt.Sprint(s.loaded); got != "[liba.so ld64.so.2 libc.so]" {
		t.Errorf("loaded are %s", got)
	}
}
