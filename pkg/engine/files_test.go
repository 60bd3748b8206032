package engine_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// TestReadContainers gives everything that may stand in a directory in place of a live patch.
func TestReadContainers(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	good := container(t, "a", 10)
	must(t, syscall.Mkfifo(at("fifo.so"), 0o644))
	must(t, os.WriteFile(at("text.so"), []byte("text"), 0o644))
	must(t, os.WriteFile(at("empty.so"), nil, 0o644))
	must(t, os.WriteFile(at("sparse.so"), nil, 0o644))
	must(t, os.Truncate(at("sparse.so"), 100<<30))
	must(t, os.Symlink(good, at("link.so")))
	must(t, os.Symlink("gone", at("dangling.so")))
	for name, want := range map[string]string{
		"fifo.so": "not a regular file", "/dev/zero": "not a regular file",
		dir: "not a regular file", "text.so": "", "empty.so": "",
		"sparse.so": "larger than 64 MiB", "gone.so": "no such file", "dangling.so": "no such file",
		library(t, "a"): "no section .ulp",
	} {
		path := name
		if !filepath.IsAbs(name) {
			path = at(name)
		}
		cs, err := engine.ReadContainers(t.Context(), []string{path, good}, false)
		must(t, err)
		if len(cs.Bad) != 1 || len(cs.List) != 1 || cs.List[0].File != good {
			t.Errorf("%s: %d bad, %d good", name, len(cs.Bad), len(cs.List))
			continue
		}
		if bad := cs.Bad[0]; bad.File != path || !strings.Contains(bad.Error(), want) ||
			!errors.Is(bad, engine.ErrNoMetadata) {
			t.Errorf("%s: %v", name, bad)
		}
	}
	cs := read(t, good, at("link.so"))
	if len(cs.List) != 1 {
		t.Errorf("the same live patch twice: %d", len(cs.List))
	}
	if cs = read(t, at("link.so")); cs.List[0].Path != good {
		t.Errorf("a process would be told %s", cs.List[0].Path)
	}
}

// TestReadPlaces tells processes another path than the one that is read, without looking whether it
// is there.
func TestReadPlaces(t *testing.T) {
	file := container(t, "a", 10)
	cs, err := engine.ReadPlaces(t.Context(), []engine.Place{{File: file, Path: "/elsewhere/a.so"}},
		false)
	must(t, err)
	if len(cs.List) != 1 || cs.List[0].File != file || cs.List[0].Path != "/elsewhere/a.so" {
		t.Errorf("%+v, %v", cs.List, cs.Bad)
	}
}

// TestReadContainersWithout wants the functions to be there, and for reverting the section for it.
func TestReadContainersWithout(t *testing.T) {
	image, err := os.ReadFile(container(t, "a", 10))
	must(t, err)
	c, err := ulp.ParseContainer(image)
	must(t, err)
	p, err := c.LivePatch()
	must(t, err)
	plain, err := os.ReadFile(gcc(t, "plain10.so", "container.c", "-shared", "-fPIC",
		"-Wl,--build-id", "-DTENS=10"))
	must(t, err)
	write := func(name string, m *ulp.Metadata) string {
		data, err := m.AppendBinary(nil)
		must(t, err)
		out, err := ulp.EmbedSections(plain, ulp.Section{Name: ulp.SectionMetadata, Data: data})
		must(t, err)
		path := filepath.Join(t.TempDir(), name)
		must(t, os.WriteFile(path, out, 0o644))
		return path
	}
	one := write("forward.so", p.Metadata)
	cs, err := engine.ReadContainers(t.Context(), []string{one}, true)
	must(t, err)
	if len(cs.Bad) != 1 || !errors.Is(cs.Bad[0], ulp.ErrNotPacked) {
		t.Errorf("without %s: %v", ulp.SectionReverse, cs.Bad)
	}
	read(t, one)
	m := *p.Metadata
	m.Functions = slices.Clone(m.Functions)
	m.Functions[0].New = "nowhere"
	cs, err = engine.ReadContainers(t.Context(), []string{write("nowhere.so", &m)}, false)
	must(t, err)
	if len(cs.Bad) != 1 || !errors.Is(cs.Bad[0], ulp.ErrNoSymbol) {
		t.Errorf("without a replacement: %v", cs.Bad)
	}
}

func TestExpand(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"lp10.so", "lp2.so", "lp2.txt", "other.so", ".hidden.so", "sub/lp3.so", "sub/deep/lp1.so",
		"sub/deep/lp1.so.1", `b\[a].so`,
	} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	must(t, os.Symlink("..", filepath.Join(dir, "sub/circle")))
	must(t, os.Mkdir(filepath.Join(dir, "directory.so"), 0o755))
	for _, tc := range []struct {
		pattern   string
		recursive bool
		want      string
	}{
		{"lp*.so", false, "lp2.so lp10.so"},
		{"*", false, ".hidden.so b\\[a].so lp2.so lp10.so other.so"},
		{"lp*.so", true, "lp2.so lp10.so sub/deep/lp1.so sub/lp3.so"},
		{`b\[[]a]*`, false, `b\[a].so`},
		{"*.txt", true, ""},
	} {
		got, err := engine.Expand(dir+"/"+tc.pattern, tc.recursive)
		must(t, err)
		for i := range got {
			got[i] = strings.TrimPrefix(got[i], dir+"/")
		}
		if d := cmp.Diff(strings.Fields(tc.want), got); d != "" && len(got)+len(tc.want) > 0 {
			t.Errorf("%s recursive %v (-want +got):\n%s", tc.pattern, tc.recursive, d)
		}
	}
	if _, err := engine.Expand(dir+"/gone/*.so", false); err == nil ||
		!strings.Contains(err.Error(), "unable to open directory") {
		t.Errorf("a directory that is not there: %v", err)
	}
	t.Chdir(dir)
	if got, err := engine.Expand("lp*.so", false); err != nil || got[0] != "./lp2.so" {
		t.Errorf("without a directory: %q, %v", got, err)
	}
	if engine.IsPattern("a[1]?.so") || !engine.IsPattern("dir/*") {
		t.Error("what is a pattern")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
