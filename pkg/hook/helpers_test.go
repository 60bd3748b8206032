package hook

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/trigger"
)

// buildDir has what the tests compile.
var buildDir string

func TestMain(m *testing.M) {
	if job := os.Getenv("HOOK_TEST_JOB"); job != "" {
		os.Exit(jobs[job]())
	}
	var err error
	if buildDir, err = os.MkdirTemp("", "hook-test"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(buildDir)
	os.Exit(code)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const sources = "../ulp/pulp/testdata/"

// build compiles a library, a program, a stand-in for libpulp.so, and packs live patches of 10 and of 20, once.
var build = sync.OnceValue(func() error {
	so := []string{"-shared", "-fPIC", "-Wl,--build-id"}
	target := []string{"-Wl,-soname,libtarget.so", "-fpatchable-function-entry=16,14", "-Wl,--hash-style=both", "-fcf-protection=none"}
	for out, args := range map[string][]string{
		"libpulp.so":   append(so, "-fvisibility=hidden", sources+"runtime.c"),
		"libtarget.so": append(append(so, target...), sources+"library.c"),
		"plain10.so":   append(so, "-DTENS=10", sources+"container.c"),
		"plain20.so":   append(so, "-DTENS=20", sources+"container.c"),
	} {
		if text, err := exec.Command("gcc", append([]string{"-O2", "-o", filepath.Join(buildDir, out)}, args...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("gcc %q: %w\n%s", args, err, text)
		}
	}
	text, err := exec.Command("gcc", "-o", filepath.Join(buildDir, "program"), sources+"program.c", "-pthread", filepath.Join(buildDir, "libtarget.so")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("gcc: %w\n%s", err, text)
	}
	for _, tens := range []int{10, 20} {
		if err := pack(tens, fmt.Sprintf("live%d.so", tens), "two:two_lp", ulp.EntriesNOPs); err != nil {
			return err
		}
	}
	return pack(10, "any.so", "bare:bare_lp", ulp.EntriesAny)
})

// pack makes a live patch of one() and something else.
func pack(tens int, name, line string, entries ulp.Entries) error {
	path := filepath.Join(buildDir, name)
	image, err := packImage(path, filepath.Join(buildDir, "libtarget.so"), tens, line, ulp.PackOptions{Entries: entries})
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
	text := []byte("! CVE-2026-1\n" + path + "\n@" + target + "\none:one_lp\n" + line + "\n")
	d, err := ulp.ParseDescription("live.dsc", text)
	if err != nil {
		return nil, err
	}
	lib, err := ulp.OpenLibrary(target, ulp.LibraryOptions{Prove: true})
	if err != nil {
		return nil, err
	}
	image, err := os.ReadFile(filepath.Join(buildDir, fmt.Sprintf("plain%d.so", tens)))
	if err != nil {
		return nil, err
	}
	c, err := ulp.ParseContainer(image)
	if err != nil {
		return nil, err
	}
	return ulp.Pack(d, text, c, lib, o)
}

// live returns the bytes of a live patch.
func live(t testing.TB, tens int) string {
	t.Helper()
	return packed(t, fmt.Sprintf("live%d.so", tens))
}

func packed(t testing.TB, name string) string {
	t.Helper()
	check(t, build())
	data, err := os.ReadFile(filepath.Join(buildDir, name))
	check(t, err)
	return string(data)
}

// tree makes files below a new folder that stands for /, and returns it. A name that ends in "/" is a folder.
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

// content returns the names of all files below a folder, links with where they lead.
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
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func start(t testing.TB) *child {
	t.Helper()
	return startWith(t, "LD_PRELOAD="+cmp.Or(os.Getenv("LPBUILD_LIBPULP"), filepath.Join(buildDir, "libpulp.so"))) // itself, or the stand-in
}

// startWith starts the program with something more in its environment.
func startWith(t testing.TB, env ...string) *child {
	t.Helper()
	check(t, build())
	cmd := exec.Command(filepath.Join(buildDir, "program"))
	cmd.Env = append(env, "LD_LIBRARY_PATH="+buildDir)
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	c := &child{t, cmd, in, bufio.NewReader(out)}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	_, err = c.out.ReadString('\n')
	check(t, err)
	return c
}

const without, tens10, tens20 = "1 2 3 107", "10 20 3 107", "20 40 3 107"

func (c *child) says(want string) {
	c.t.Helper()
	_, err := io.WriteString(c.in, "\n")
	check(c.t, err)
	got, err := c.out.ReadString('\n')
	if check(c.t, err); strings.TrimSpace(got) != want {
		c.t.Errorf("the program says %q, want %q", strings.TrimSpace(got), want)
	}
}

// request is one for the process alone.
func (c *child) request(root string, action Action, version string) Request {
	return Request{
		Action: action, Package: "target-livepatches", Version: version, Library: "libtarget.so", Count: 1, Root: root, Proc: "/proc",
		Selector: trigger.Selector{PID: c.cmd.Process.Pid},
	}
}

// where a package has the live patch of a version.
func at(version string) string {
	return "usr/lib64/target-livepatches/" + version + "/libtarget_1.0-1_livepatch1.so"
}

// lines runs a request and returns what a scriptlet prints.
func lines(t testing.TB, r Request) string {
	t.Helper()
	o, _ := Run(t.Context(), r)
	return strings.Join(o.Lines(), "\n")
}
