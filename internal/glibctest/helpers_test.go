package glibctest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"text/template"

	"github.com/lpbuild/lpbuild/internal/distro"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix"
)

// enabled is the environment variable that enables the tests on a real glibc: they take minutes,
// and need a network the first time.
const enabled = "LPBUILD_TEST_GLIBC"

// patches are the live patches of testdata/package, one of each kind; the description of each says
// what it patches.
var patches = []string{"malloc", "memcpy", "static", "variable", "threadlocal", "mutex"}

// world is what all tests share: the builds, a package directory in which download and build were
// run, and the program.
type world struct {
	builds  []glibcBuild
	lpbuild string   // the binary
	dir     string   // the package directory
	targets []string // testdata/target.c, compiled for each build
	env     []string
	report  *buildmatrix.Report
}

var (
	once     sync.Once
	shared   *world
	noBuilds error // why there are no builds
	temp     string
)

func TestMain(m *testing.M) {
	var err error
	if temp, err = os.MkdirTemp("", "glibctest-*"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(temp)
	os.Exit(code)
}

// theWorld returns the world; the first call makes it.
func theWorld(t *testing.T) *world {
	t.Helper()
	if os.Getenv(enabled) == "" {
		t.Skip("compiles a real glibc, which takes minutes: run \"make test-glibc\"")
	}
	once.Do(func() {
		var builds []glibcBuild
		if builds, noBuilds = makeBuilds(t.Context(), t.Logf); noBuilds == nil {
			shared = makeWorld(t, builds)
		}
	})
	switch {
	case errors.Is(noBuilds, errUnsupported):
		t.Skip(noBuilds)
	case noBuilds != nil:
		t.Fatal(noBuilds)
	case shared == nil:
		t.Fatal("the shared world could not be made: see the first test")
	}
	return shared
}

func makeWorld(t *testing.T, builds []glibcBuild) *world {
	t.Helper()
	w := &world{builds: builds, lpbuild: filepath.Join(temp, "lpbuild"),
		dir: filepath.Join(temp, "package")}
	w.env = append(os.Environ(), "LPBUILD_CACHE="+filepath.Join(temp, "store"), "LC_ALL=C.UTF-8",
		"CGO_ENABLED=0")
	w.must(t, "go", "build", "-o", w.lpbuild, "github.com/lpbuild/lpbuild/cmd/lpbuild")
	for i, b := range builds {
		w.targets = append(w.targets, filepath.Join(temp, fmt.Sprintf("target%d", i)))
		w.must(t, "gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-Wl,--dynamic-linker="+
			b.Loader, "-Wl,-rpath,"+b.Dir,
			"-o", w.targets[i], "testdata/target.c")
	}
	url := repository(t, builds)
	w.makePackage(t, w.dir, url, patches)
	t.Log(w.must(t, w.lpbuild, "-C", w.dir, "download"))
	t.Log(w.must(t, w.lpbuild, "-C", w.dir, "build"))
	w.report = w.readReport(t, w.dir)
	return w
}

// repository serves the builds, signed, until the tests end, and writes the key to temp/key.asc.
func repository(t *testing.T, builds []glibcBuild) string {
	t.Helper()
	ctx, dir := context.Background(), filepath.Join(temp, "repository")
	key, err := distro.CachedKey(ctx, filepath.Join(temp, "key"),
		distro.KeyOptions{V3Signatures: distro.CanSignV3() == nil}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(temp, "key.asc"), key.Public(), 0o644); err != nil {
		t.Fatal(err)
	}
	var rpms, debuginfo []string
	for _, b := range builds {
		rpms, debuginfo = append(rpms, b.RPM), append(debuginfo, b.Debuginfo)
	}
	o := distro.RepositoryOptions{Key: key, SignRPMs: true, Compression: "zst"}
	for name, files := range map[string][]string{"update": rpms, "update_debug": debuginfo} {
		if err := distro.MakeRepository(ctx, filepath.Join(dir, name), files, o); err != nil {
			t.Fatal(err)
		}
	}
	server, err := distro.Serve(dir) // ends with the process: other tests need it, too
	if err != nil {
		t.Fatal(err)
	}
	return server.URL
}

// makePackage makes a package directory of the descriptions and sources in testdata/package.
func (w *world) makePackage(t *testing.T, dir, url string, names []string) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS("testdata/package")); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(temp, "key.asc"))
	if err != nil {
		t.Fatal(err)
	}
	var config bytes.Buffer
	text := template.Must(template.ParseFiles("testdata/lpbuild.yaml.tmpl"))
	if err := text.Execute(&config, struct {
		URL     string
		Patches []string
	}{url, names}); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"lpbuild.yaml": config.Bytes(), "key.asc": key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) readReport(t *testing.T, dir string) *buildmatrix.Report {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "build", buildmatrix.ReportName))
	if err != nil {
		t.Fatal(err)
	}
	r := &buildmatrix.Report{}
	if err := json.Unmarshal(text, r); err != nil {
		t.Fatal(err)
	}
	return r
}

// run runs a program and returns its combined output.
func (w *world) run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = w.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// must is run for programs that have to succeed.
func (w *world) must(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := w.run(t, name, args...)
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", filepath.Base(name), args, err, out)
	}
	return out
}
