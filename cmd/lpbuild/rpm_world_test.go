package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A machine of its own for real RPM transactions: its processes, its mounts, its /dev. Nothing
// reaches the machine that runs the tests: what it has is the lower layer of an overlay.

// inNamespaces names the directory with what the outer test made; it is set in the inner one.
const inNamespaces = "LPBUILD_TEST_NAMESPACES"

// liveDir is where the programs that are patched are, in a root directory.
const liveDir = "/opt/live"

// enter runs the test again in namespaces of its own, and returns the directory with its files
// there and "" here: then it is over. make fills the directory.
func enter(t testing.TB, make func(t testing.TB, dir string)) string {
	t.Helper()
	if dir := os.Getenv(inNamespaces); dir != "" {
		return dir
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, for mounts and for patching processes of others")
	}
	if out, err := exec.Command("unshare", "--mount", "--pid", "--net", "--fork", "--mount-proc",
		"true").CombinedOutput(); err != nil {
		t.Skipf("needs namespaces; in a chroot its directory must be a mount point, such as one "+
			"bound to itself: %v: %s", err, out)
	}
	dir := t.TempDir()
	make(t, dir)
	self, err := os.Executable()
	check(t, err)
	run := []string{"-test.run", "^" + t.Name() + "$", "-test.v"}
	b, bench := t.(*testing.B)
	if bench {
		run = []string{"-test.run", "^$", "-test.bench", "^" + t.Name() + "$", "-test.benchtime",
			"1x", fmt.Sprintf("-test.short=%t", testing.Short())}
	}
	cmd := exec.CommandContext(t.Context(), "unshare",
		append([]string{"--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc",
			"--propagation", "private", self, "-test.timeout", "5m"}, run...)...)
	cmd.Env = append(os.Environ(), inNamespaces+"="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || testing.Verbose() {
		t.Logf("%s", out)
	}
	check(t, err)
	if bytes.Contains(out, []byte("--- SKIP: ")) {
		t.Skipf("%s", out)
	}
	if bench {
		passOn(b, string(out))
	}
	return ""
}

// passOn reports what a benchmark has measured in its namespaces.
func passOn(b *testing.B, out string) {
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], b.Name()) {
			continue
		}
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			check(b, err)
			b.ReportMetric(value, fields[i+1])
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sh runs a program that must succeed.
func sh(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// scratch is a root directory with all that the machine has, and an RPM database of its own.
type scratch struct {
	t    testing.TB
	root string
}

// newMachine makes a root directory below dir, in the namespaces of the test.
func newMachine(t testing.TB, dir, name string) *scratch {
	t.Helper()
	layers := filepath.Join(dir, name)
	s := &scratch{t, filepath.Join(layers, "root")}
	check(t, os.MkdirAll(layers, 0o755))
	check(t, unix.Mount("tmpfs", layers, "tmpfs", 0, ""))
	for _, d := range []string{"upper", "work", "root"} {
		check(t, os.Mkdir(filepath.Join(layers, d), 0o755))
	}
	options := fmt.Sprintf("lowerdir=/,upperdir=%s/upper,workdir=%s/work", layers, layers)
	if err := unix.Mount("overlay", s.root, "overlay", 0, options); err != nil {
		t.Skipf("this kernel mounts no overlay over the root directory here: %v", err)
	}
	check(t, os.MkdirAll(s.path("/dev"), 0o755))
	check(t, unix.Mount("tmpfs", s.path("/dev"), "tmpfs", 0, ""))
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "urandom": 9} {
		check(t, unix.Mknod(s.path("/dev/"+name), unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))))
		check(t, os.Chmod(s.path("/dev/"+name), 0o666))
	}
	check(t, unix.Mount("proc", s.path("/proc"), "proc", 0, ""))
	// empty and read-only
	check(t, unix.Mount("tmpfs", s.path("/tmp"), "tmpfs", unix.MS_RDONLY, ""))
	check(t, unix.Mount("tmpfs", s.path("/run"), "tmpfs", 0, ""))
	return s
}

func (s *scratch) path(name string) string { return filepath.Join(s.root, name) }

func (s *scratch) copy(from, to string) {
	s.t.Helper()
	data, err := os.ReadFile(from)
	check(s.t, err)
	check(s.t, os.WriteFile(s.path(to), data, 0o755))
}

// config writes /etc/sysconfig/livepatching.
func (s *scratch) config(text string) {
	s.t.Helper()
	check(s.t, os.MkdirAll(s.path("/etc/sysconfig"), 0o755))
	check(s.t, os.WriteFile(s.path("/etc/sysconfig/livepatching"), []byte(text), 0o644))
}

// command returns a real rpm that works on the root directory, and does not ask for packages that
// are no RPMs here.
func (s *scratch) command(args ...string) *exec.Cmd {
	return exec.Command("rpm", append([]string{"--root", s.root, "--dbpath", rpmDatabase,
		"--nodeps"}, args...)...)
}

// rpmDatabase is the path of the RPM database of a root directory.
const rpmDatabase = "/var/lib/lpbuild-test-rpm"

// rpm runs rpm, which must succeed, and returns its output.
func (s *scratch) rpm(args ...string) string {
	s.t.Helper()
	out, err := s.command(args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("rpm %q: %v\n%s", args, err, out)
	}
	return withoutDoubts(string(out))
}

// withoutDoubts leaves out what Debian's rpm says of its use there.
func withoutDoubts(out string) string {
	text := ""
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "rpm: ") {
			text += line
		}
	}
	return text
}

// prints fails the test if a text does not have others.
func prints(t testing.TB, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("it prints %q, without %q", text, w)
		}
	}
}
