package buildmatrix

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

func TestParseGroup(t *testing.T) {
	for text, want := range map[string]Group{"1/1": {1, 1}, "2/4": {2, 4}, "4/4": {4, 4}} {
		if got, err := ParseGroup(text); err != nil || got != want || got.String() != text {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "2", "0/4", "5/4", "-1/4", "1/4/4", "a/b",
		"1/99999999999999999999", "1/1001"} {
		if got, err := ParseGroup(text); err == nil {
			t.Errorf("%q was taken for %v", text, got)
		}
	}
	if got := (Group{}).String(); got != "" {
		t.Errorf("everything is %q", got)
	}
}

// someCells is a matrix of two patches, x builds of x86_64 and p of ppc64le.
func someCells(x, p int) []Cell {
	var cells []Cell
	patches := []*config.Patch{{Description: "one"}, {Description: "two"}}
	for arch, n := range map[symtab.Arch]int{"x86_64": x, "ppc64le": p} {
		builds := make([]download.Build, n)
		for _, patch := range patches {
			for i := range builds {
				builds[i].Version = fmt.Sprint(i)
				cells = append(cells, Cell{Patch: patch, Build: &builds[i], Arch: arch})
			}
		}
	}
	return cells
}

// TestGroups wants every cell in one group, no group empty for any architecture, and no more than
// asked for.
func TestGroups(t *testing.T) {
	for _, tc := range []struct{ x, p, size, n, most int }{
		{40, 0, 64, 1, 40}, {40, 0, 10, 4, 10}, {41, 0, 10, 5, 9}, {40, 3, 10, 3, 14},
		{40, 1, 10, 1, 40}, {3, 3, 1, 3, 1}, {40, 40, 0, 1, 40}, {0, 0, 5, 1, 0},
	} {
		cells := someCells(tc.x, tc.p)
		n, most := Groups(cells, tc.size)
		if n != tc.n || most != tc.most {
			t.Errorf("%+v: %d groups of %d", tc, n, most)
		}
		seen := 0
		for k := 1; k <= n; k++ {
			group := Group{k, n}.Cells(cells)
			seen += len(group)
			for arch, builds := range buildsOf(group) {
				if len(builds) == 0 || len(builds) > most {
					t.Errorf("%+v: group %d has %d builds of %s", tc, k, len(builds), arch)
				}
			}
			if want := len(buildsOf(cells)); len(buildsOf(group)) != want {
				t.Errorf("%+v: group %d lacks an architecture", tc, k)
			}
		}
		if seen != len(cells) {
			t.Errorf("%+v: %d of %d cells are in a group", tc, seen, len(cells))
		}
	}
}

// TestBuildGroup builds a matrix in parts: together they are what one build makes, and each report
// says what it is about.
func TestBuildGroup(t *testing.T) {
	f := newPackage(t, "1.0-1", "1.0-2", "1.0-3")
	conf, err := config.Load(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, c := range f.mustBuild().Containers() {
		all[c.Container] = c.Digest.String()
	}
	parts := map[string]string{}
	for k := 1; k <= 2; k++ {
		r, err := Build(t.Context(), conf, f.lock, Options{Group: Group{k, 2}})
		if err != nil {
			t.Fatal(err)
		}
		read, err := ReadReport(conf.Dir + "/" + config.BuildDir)
		if want := fmt.Sprintf("%d/2", k); err != nil || read.Group != want ||
			len(read.Cells) != len(r.Cells) {
			t.Errorf("the report is about %q: %v", read.Group, err)
		}
		if _, err := Verify(t.Context(), conf, f.lock, nil); err != nil {
			t.Errorf("group %d: %v", k, err)
		}
		for _, c := range r.Containers() {
			parts[c.Container] = c.Digest.String()
		}
	}
	if d := cmp.Diff(all, parts); d != "" {
		t.Errorf("(-whole +parts):\n%s", d)
	}
	_, err = Build(t.Context(), conf, f.lock, Options{Group: Group{1, 4}})
	if err == nil || !strings.Contains(err.Error(), "group 1/4 is empty") {
		t.Errorf("an empty group: %v", err)
	}
}
