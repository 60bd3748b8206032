package buildmatrix

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
)

// TestVerify finds whatever differs from what was built, and writes nothing.
func TestVerify(t *testing.T) {
	const one, two = "build/x86_64/libtoy_1.0-1_livepatch1.so",
		"build/x86_64/libtoy_1.0-2_livepatch1.so"
	read := func(f *packageDir, name string) string {
		data, err := os.ReadFile(filepath.Join(f.dir, name))
		if err != nil {
			f.t.Fatal(err)
		}
		return string(data)
	}
	for name, tc := range map[string]struct {
		change func(f *packageDir)
		want   []string
	}{
		"as built": {func(*packageDir) {}, nil},
		"no report": {func(f *packageDir) {
			os.Remove(filepath.Join(f.dir, config.BuildDir, ReportName))
		}, []string{"run lpbuild build first"}},
		"a container is gone": {func(f *packageDir) { os.Remove(filepath.Join(f.dir, one)) },
			[]string{ErrStale.Error(), "libtoy_1.0-1"}},
		"a container is longer": {func(f *packageDir) { f.write(one, read(f, one)+"x") },
			[]string{digest.ErrMismatch.Error(), "libtoy_1.0-1"}},
		"two are exchanged": {func(f *packageDir) {
			text := read(f, one)
			f.write(one, read(f, two))
			f.write(two, text)
		}, []string{"libtoy_1.0-1", "libtoy_1.0-2"}},
		"a build came afterwards": {func(f *packageDir) { f.addBuild("1.0-3", "x86_64", 3) },
			[]string{"toy-1.0-3", "has no container"}},
		"the version was raised": {func(f *packageDir) { f.edit(`version: "1"`, `version: "2"`) },
			[]string{"the report is of"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1", "1.0-2")
			f.mustBuild()
			tc.change(f)
			c, err := config.Load(f.dir)
			if err != nil {
				t.Fatal(err)
			}
			before := snapshot(t, f.dir)
			r, err := Verify(t.Context(), c, f.lock, nil)
			if d := cmp.Diff(before, snapshot(t, f.dir)); d != "" {
				t.Errorf("it wrote:\n%s", d)
			}
			if tc.want == nil {
				if err != nil || len(r.Cells) != 2 {
					t.Errorf("%v, %v", r, err)
				}
				return
			}
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error is %v, want %q", err, want)
				}
			}
			if name != "no report" && !errors.Is(err, ErrStale) {
				t.Errorf("%v is no ErrStale", err)
			}
		})
	}
}
