package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/spec"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	rpmhelper "github.com/lpbuild/lpbuild/rpm-helper"
)

// A machine of its own for real RPM transactions: its processes, its mounts, its /dev. Nothing reaches the machine that runs the
// tests: what it has is the lower layer of an overlay.

// inNamespaces names the folder with what the outer test made; it is set in the inner one.
const inNamespaces = "LPBUILD_TEST_NAMESPACES"

// liveDir is where the programs that are patched are, in a root folder.
const liveDir = "/opt/live"

// enter runs the test again in namespaces of its own, and returns the folder with its files there and "" here: then it is over.
// make fills the folder.
func enter(t *testing.T, make func(t *testing.T, dir string)) string {
	t.Helper()
	if dir := os.Getenv(inNamespaces); dir != "" {
		return dir
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, for mounts and for patching processes of others")
	}
	if out, err := exec.Command("unshare", "--mount", "--pid", "--net", "--fork", "--mount-proc", "true").CombinedOutput(); err != nil {
		t.Skipf("no namespaces can be made here: %v: %s", err, out)
	}
	dir := t.TempDir()
	make(t, dir)
	self, err := os.Executable()
	check(t, err)
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc", "--propagation", "private",
		self, "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "5m")
	cmd.Env = append(os.Environ(), inNamespaces+"="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || testing.Verbose() {
		t.Logf("%s", out)
	}
	check(t, err)
	if bytes.Contains(out, []byte("--- SKIP: ")) {
		t.Skipf("%s", out)
	}
	return ""
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

// makeLive compiles a library, a program, a stand-in for libpulp.so, and packs live patches v1.so and v2.so.
func makeLive(t *testing.T, dir string) {
	t.Helper()
	sources, err := filepath.Abs("../../pkg/ulp/pulp/testdata")
	check(t, err)
	gcc := func(args ...string) { sh(t, "gcc", append([]string{"-O2"}, args...)...) }
	so := []string{"-shared", "-fPIC", "-Wl,--build-id"}
	target := filepath.Join(dir, "libtarget.so")
	gcc(append(so, "-o", filepath.Join(dir, "libpulp.so"), "-fvisibility=hidden", sources+"/runtime.c")...)
	gcc(append(so, "-o", target, "-Wl,-soname,libtarget.so", "-fpatchable-function-entry=16,14", "-Wl,--hash-style=both",
		"-fcf-protection=none", sources+"/library.c")...)
	gcc("-o", filepath.Join(dir, "program"), sources+"/program.c", "-pthread", target)
	gcc("-o", filepath.Join(dir, "vfork"), sources+"/../../trigger/testdata/vfork.c", target)
	for name, tens := range map[string]int{"v1.so": 10, "v2.so": 20} {
		plain := filepath.Join(dir, "plain-"+name)
		gcc(append(so, "-o", plain, fmt.Sprintf("-DTENS=%d", tens), sources+"/container.c")...)
		check(t, packLive(plain, filepath.Join(dir, name), target))
	}
}

func packLive(plain, path, target string) error {
	text := []byte("! CVE-2026-1\n" + path + "\n@" + target + "\none:one_lp\ntwo:two_lp\n")
	d, err := ulp.ParseDescription("live.dsc", text)
	if err != nil {
		return err
	}
	lib, err := ulp.OpenLibrary(target, ulp.LibraryOptions{})
	if err != nil {
		return err
	}
	image, err := os.ReadFile(plain)
	if err != nil {
		return err
	}
	c, err := ulp.ParseContainer(image)
	if err != nil {
		return err
	}
	if image, err = ulp.Pack(d, text, c, lib, ulp.PackOptions{}); err != nil {
		return err
	}
	return os.WriteFile(path, image, 0o755)
}

// makeRPM builds a live patch package of a version: the spec file is the generated one, with files that are there already in
// the place of a build.
func makeRPM(t *testing.T, dir, version, container string, bundled bool) {
	t.Helper()
	p := spec.Package{
		Name: "target-livepatches", Version: version, Summary: "Live patches for target", License: "LGPL-2.1-or-later",
		URL: "https://example.com", Description: "For a test.", Arch: []string{"x86_64"}, Packages: []string{"target"},
		Libraries: []string{"libtarget.so"}, Bundled: bundled, Time: 1767323045,
	}
	text, err := p.Render()
	check(t, err)
	s := string(text)
	for from, to := range map[string]string{
		"%setup -q\n": "", "lpbuild build --offline --arch %{_arch}\n": "", "lpbuild build --check --offline --arch %{_arch}\n": "",
		"BuildRequires:  gcc\nBuildRequires:  lpbuild\n":                                 "",
		"Source0:        %{name}-%{version}.tar.xz\nSource1:        %{name}-rpmlintrc\n": "",
		"lpbuild install --arch %{_arch} --root %{buildroot}\n": "install -D -m 0755 " + filepath.Join(dir, container) +
			" %{buildroot}%{lpdir}/libtarget_1.0-1_livepatch1.so\n",
	} {
		if !strings.Contains(s, from) {
			t.Fatalf("the generated spec file has no %q", from)
		}
		s = strings.Replace(s, from, to, 1)
	}
	name := filepath.Join(dir, "p.spec")
	check(t, os.WriteFile(name, []byte(s), 0o644))
	macros := filepath.Join(dir, "macros.userspace-livepatch")
	data, err := rpmhelper.FS.ReadFile("macros.userspace-livepatch")
	check(t, err)
	check(t, os.WriteFile(macros, data, 0o644))
	kind := "system"
	if bundled {
		kind = "bundled"
	}
	sh(t, "rpmbuild", "-bb", "--quiet", "--load", macros, "--define", "_topdir "+filepath.Join(dir, "rpmbuild"), "--define", "suse_version 1600",
		"--define", "_binary_payload w1.gzdio", "--define", "_rpmdir "+filepath.Join(dir, "rpms", kind), "--target", "x86_64", name)
}

// rpmOf returns the path of an RPM that makeRPM built.
func rpmOf(dir, kind, version string) string {
	return filepath.Join(dir, "rpms", kind, "x86_64", "target-livepatches-"+version+"-0.x86_64.rpm")
}

// scratch is a root folder with all that the machine has, and an RPM database of its own.
type scratch struct {
	t    *testing.T
	root string
}

// newScratch makes a root folder below dir, with the programs of the hand-made packages and lpbuild in it.
func newScratch(t *testing.T, dir, name string) *scratch {
	t.Helper()
	s := newMachine(t, dir, name)
	s.fill(dir)
	return s
}

// newMachine makes a root folder below dir, in the namespaces of the test.
func newMachine(t *testing.T, dir, name string) *scratch {
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
		t.Skipf("this kernel mounts no overlay over the root folder here: %v", err)
	}
	check(t, os.MkdirAll(s.path("/dev"), 0o755))
	check(t, unix.Mount("tmpfs", s.path("/dev"), "tmpfs", 0, ""))
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "urandom": 9} {
		check(t, unix.Mknod(s.path("/dev/"+name), unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))))
		check(t, os.Chmod(s.path("/dev/"+name), 0o666))
	}
	check(t, unix.Mount("proc", s.path("/proc"), "proc", 0, ""))
	check(t, unix.Mount("tmpfs", s.path("/tmp"), "tmpfs", unix.MS_RDONLY, "")) // empty and read-only
	check(t, unix.Mount("tmpfs", s.path("/run"), "tmpfs", 0, ""))
	return s
}

func (s *scratch) path(name string) string { return filepath.Join(s.root, name) }

// fill puts in the programs to be patched, lpbuild, and its helper for RPM.
func (s *scratch) fill(dir string) {
	s.t.Helper()
	check(s.t, os.MkdirAll(s.path(liveDir), 0o755))
	for _, name := range []string{"libtarget.so", "libpulp.so", "program", "vfork"} {
		s.copy(filepath.Join(dir, name), liveDir+"/"+name)
	}
	self, err := os.Executable()
	check(s.t, err)
	s.copy(self, "/usr/bin/lpbuild") // the test's program is lpbuild if it is called so
	data, err := rpmhelper.FS.ReadFile("rpm-helper")
	check(s.t, err)
	check(s.t, os.MkdirAll(s.path("/usr/lib/lpbuild"), 0o755))
	check(s.t, os.WriteFile(s.path("/usr/lib/lpbuild/rpm-helper"), data, 0o755))
	s.config("LIVEPATCH_DEADLINE=3s\n")
}

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

// command returns a real rpm that works on the root folder, and does not ask for packages that are no RPMs here.
func (s *scratch) command(args ...string) *exec.Cmd {
	return exec.Command("rpm", append([]string{"--root", s.root, "--dbpath", rpmDatabase, "--nodeps"}, args...)...)
}

// rpmDatabase is where the packages of a root folder are known.
const rpmDatabase = "/var/lib/lpbuild-test-rpm"

// rpm runs it, wants it to succeed, and returns what it prints.
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
func prints(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("it prints %q, without %q", text, w)
		}
	}
}

// live is a running program that is to be patched.
type live struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts a program of the folder with the live programs in a root folder, "" for the machine's own.
func start(t *testing.T, root, dir, program string) *live {
	t.Helper()
	cmd := exec.Command(filepath.Join(dir, program))
	cmd.Env = []string{"LD_LIBRARY_PATH=" + dir, "LD_PRELOAD=" + dir + "/libpulp.so"}
	return begin(t, root, cmd)
}

// begin starts a program in a root folder, and waits until it is ready.
func begin(t *testing.T, root string, cmd *exec.Cmd) *live {
	t.Helper()
	cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: root}
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	l := &live{t, cmd, in, bufio.NewReader(out)}
	t.Cleanup(l.kill)
	_, err = l.out.ReadString('\n')
	check(t, err)
	return l
}

func (s *scratch) start(program string) *live { return start(s.t, s.root, liveDir, program) }

func (l *live) kill() {
	_ = l.cmd.Process.Kill()
	_ = l.cmd.Wait()
}

// What the program says without a live patch, and with those of the two versions.
const (
	without  = "1 2 3 107"
	version1 = "10 20 3 107"
	version2 = "20 40 3 107"
)

// says fails the test if the program does not answer so.
func (l *live) says(want string) {
	l.t.Helper()
	_, err := io.WriteString(l.in, "\n")
	check(l.t, err)
	got, err := l.out.ReadString('\n')
	if check(l.t, err); strings.TrimSpace(got) != want {
		l.t.Errorf("the program says %q, want %q", strings.TrimSpace(got), want)
	}
}

// await waits until a condition holds.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
