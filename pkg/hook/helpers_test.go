package hook

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

var builds targettest.Builds

func TestMain(m *testing.M) {
	if job := os.Getenv("HOOK_TEST_JOB"); job != "" {
		os.Exit(jobs[job]())
	}
	os.Exit(builds.Run(m))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const sources = "../engine/libpulp/testdata/"

// build compiles a library, a program and a stand-in for libpulp.so, and packs live patches
// returning 10 and 20, once.
var build = sync.OnceValue(func() error {
	so := []string{"-shared", "-fPIC", "-Wl,--build-id"}
	target := []string{"-Wl,-soname,libtarget.so", "-fpatchable-function-entry=16,14",
		"-Wl,--hash-style=both", "-fcf-protection=none"}
	for out, args := range map[string][]string{
		"libpulp.so":   append(so, "-fvisibility=hidden", sources+"runtime.c"),
		"libtarget.so": append(append(so, target...), sources+"library.c"),
		"plain10.so":   append(so, "-DTENS=10", sources+"container.c"),
		"plain20.so":   append(so, "-DTENS=20", sources+"container.c"),
	} {
		if err := targettest.Compile(context.Background(), filepath.Join(builds.Dir, out),
			args...); err != nil {
			return err
		}
	}
	program := []string{sources + "program.c", "-pthread",
		filepath.Join(builds.Dir, "libtarget.so")}
	if err := targettest.Compile(context.Background(), filepath.Join(builds.Dir, "program"),
		program...); err != nil {
		return err
	}
	for _, tens := range []int{10, 20} {
		if err := pack(tens, fmt.Sprintf("live%d.so", tens), "two:two_lp",
			symtab.EntriesNOPs); err != nil {
			return err
		}
	}
	return pack(10, "any.so", "bare:bare_lp", symtab.EntriesAny)
})

// pack makes a live patch of one() with a second symbol.
func pack(tens int, name, line string, entries symtab.Entries) error {
	path := filepath.Join(builds.Dir, name)
	image, err := packImage(path, filepath.Join(builds.Dir, "libtarget.so"), tens, line,
		ulp.PackOptions{Entries: entries})
	if err != nil {
		return err
	}
	return os.WriteFile(path, image, 0o755)
}

// packFor returns a live patch for a build of the library.
func packFor(t testing.TB, target string) string {
	t.Helper()
	image, err := packImage("other.so", target, 10, "two:two_lp", ulp.PackOptions{Force: true})
	check(t, err)
	return string(image)
}

func packImage(path, target string, tens int, line string, o ulp.PackOptions) ([]byte, error) {
	return targettest.Pack(filepath.Join(builds.Dir, fmt.Sprintf("plain%d.so", tens)), path, target,
		o, "one:one_lp", line)
}

// live returns the bytes of a live patch.
func live(t testing.TB, tens int) string {
	t.Helper()
	return packed(t, fmt.Sprintf("live%d.so", tens))
}

func packed(t testing.TB, name string) string {
	t.Helper()
	check(t, build())
	data, err := os.ReadFile(filepath.Join(builds.Dir, name))
	check(t, err)
	return string(data)
}

// tree makes files below a new directory that replaces /, and returns it. A name that ends in "/"
// is a directory.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	put(t, root, files)
	return root
}

func put(t testing.TB, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		if strings.HasSuffix(name, "/") {
			check(t, os.MkdirAll(path, 0o755))
			continue
		}
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, []byte(text), 0o755))
	}
}

// content returns the names of all files below a directory, with the targets of links.
func content(t testing.TB, root string) string {
	t.Helper()
	var names []string
	check(t, filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(root, path)
			names = append(names, rel)
		}
		return err
	}))
	return strings.Join(names, " ")
}

// child is a running program that is to be patched.
type child struct {
	*targettest.Process
	t testing.TB
}

func start(t testing.TB) *child {
	t.Helper()
	// itself, or the stand-in
	return startWith(t, "LD_PRELOAD="+cmp.Or(os.Getenv("LPBUILD_LIBPULP"),
		filepath.Join(builds.Dir, "libpulp.so")))
}

// startWith starts the program with additional environment variables.
func startWith(t testing.TB, env ...string) *child {
	t.Helper()
	check(t, build())
	cmd := exec.Command(filepath.Join(builds.Dir, "program"))
	cmd.Env = append(env, "LD_LIBRARY_PATH="+builds.Dir)
	c := &child{targettest.Start(t, cmd), t}
	c.Line()
	return c
}

const without, tens10, tens20 = "1 2 3 107", "10 20 3 107", "20 40 3 107"

func (c *child) says(want string) {
	c.t.Helper()
	c.Answers("", want)
}

// request returns a request for the process alone.
func (c *child) request(root string, action Action, version string) Request {
	return Request{
		Action: action, Package: "target-livepatches", Version: version, Library: "libtarget.so",
		Count: 1, Root: root, Proc: "/proc",
		Selector: engine.Selector{PID: c.PID},
	}
}

// where returns the path of the package's live patch in a version.
func at(version string) string {
	return "usr/lib64/target-livepatches/" + version + "/libtarget_1.0-1_livepatch1.so"
}

// lines runs a request and returns what a scriptlet prints.
func lines(t testing.TB, r Request) string {
	t.Helper()
	o, _ := Run(t.Context(), r)
	return strings.Join(o.Lines(), "\n")
}
