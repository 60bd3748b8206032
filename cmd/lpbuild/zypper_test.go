package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// zypper runs the real one on a root directory; it uses the machine's own RPM database there.
func (s *scratch) zypper(args ...string) (string, error) {
	// It closes every file that could be open before it runs another program.
	cmd := exec.Command("prlimit", append([]string{"--nofile=256", "zypper", "--non-interactive",
		"--root", s.root}, args...)...)
	cmd.Env = append(os.Environ(), "HOME=/root", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// zypp runs zypper, which must succeed, and returns its output.
func (s *scratch) zypp(args ...string) string {
	s.t.Helper()
	out, err := s.zypper(args...)
	if err != nil {
		s.t.Fatalf("zypper %q: %v\n%s", args, err, out)
	}
	return out
}

// zyppFails runs zypper, which must fail with the given message.
func (s *scratch) zyppFails(want string, args ...string) {
	s.t.Helper()
	out, err := s.zypper(args...)
	if err == nil {
		s.t.Errorf("zypper %q succeeds", args)
	}
	prints(s.t, out, want)
}

// has reports whether a package is installed.
func (s *scratch) has(name string) bool {
	return exec.Command("rpm", "--root", s.root, "-q", name).Run() == nil
}

// newZypp makes a system that has the vendor's repository, not yet its key.
func newZypp(t testing.TB, dir, name string) *scratch {
	t.Helper()
	if _, err := exec.LookPath("zypper"); err != nil {
		t.Fatalf("the package zypper is missing: %v", err)
	}
	s := newSystem(t, dir, name)
	// the machine's
	for _, old := range []string{"/root/.rpmdb", "/var/lib/rpm", "/usr/lib/sysimage/rpm",
		"/etc/zypp", "/var/cache/zypp", "/var/lib/zypp"} {
		check(t, os.RemoveAll(s.path(old)))
	}
	s.serve("v1", dir)
	s.zypp("addrepo", "file://"+s.path("/srv/vendor"), "vendor")
	return s
}

// serve puts one of the repositories where zypper gets it.
func (s *scratch) serve(name, dir string) {
	s.t.Helper()
	check(s.t, os.RemoveAll(s.path("/srv/vendor")))
	check(s.t, os.CopyFS(s.path("/srv/vendor"), os.DirFS(filepath.Join(dir, "packages", name))))
}

// trust imports the vendor's key as an administrator does, and reads the repository.
func (s *scratch) trust(dir string) {
	s.t.Helper()
	sh(s.t, "rpm", "--root", s.root, "--import", filepath.Join(dir, "packages/repository/key.asc"))
	s.zypp("refresh")
}

// TestZypper has the real zypper install the live patches by name, from a signed repository that
// has lpbuild, too, and update them: processes with two builds of the library are patched. It
// refuses a repository before its key is known, and one that was tampered with.
func TestZypper(t *testing.T) {
	dir := enter(t, usePackages)
	if dir == "" {
		return
	}
	s := newZypp(t, dir, "machine")
	all := []*live{s.service(serviceBuilds[0]), s.service(serviceBuilds[1])}
	s.zyppFails("Signature verification failed", "refresh")
	s.trust(dir)
	out := s.zypp("install", packageName)
	counts(t, out, "patched: 2", "Failed: 0.")
	if prints(t, out, "lpbuild-engine", "bash"); !s.has("lpbuild-engine") {
		t.Error("lpbuild-engine is not installed")
	}
	say(all, saysFirst)

	s.serve("v2", dir)
	s.zypp("refresh")
	counts(t, s.zypp("update"), "patched: 2", "Failed: 0.")
	say(all, saysSecond)
	counts(t, s.zypp("install", "--oldpackage", packageName+"-"+first), "patched: 2", "Failed: 0.")
	say(all, saysFirst)

	testTampered(t, s, dir)
	say(all, saysFirst)
	prints(t, s.zypp("remove", packageName), packageName)
	say(all, saysFirst)
}

// testTampered wants zypper to refuse packages and metadata that are not what was signed.
func testTampered(t testing.TB, s *scratch, dir string) {
	t.Helper()
	damage := func(name string) {
		t.Helper()
		data, err := os.ReadFile(s.path(name))
		check(t, err)
		data[len(data)-20] ^= 1
		check(t, os.WriteFile(s.path(name), data, 0o644))
	}
	rpm := "/srv/vendor/x86_64/" + packageName + "-" + second + "-0.x86_64.rpm"
	damage(rpm)
	s.zyppFails("Digest verification failed", "update")
	s.serve("v1", dir) // another repository's metadata, under the signature of this one
	signature, err := os.ReadFile(filepath.Join(dir, "packages/v2/repodata/repomd.xml.asc"))
	check(t, err)
	check(t, os.WriteFile(s.path("/srv/vendor/repodata/repomd.xml.asc"), signature, 0o644))
	s.zyppFails("Signature verification failed", "refresh", "--force")
	s.serve("v2", dir)
	primary, err := filepath.Glob(s.path("/srv/vendor/repodata/*primary.xml*"))
	if check(t, err); len(primary) != 1 {
		t.Fatal(primary)
	}
	damage(strings.TrimPrefix(primary[0], s.root))
	s.zypp("clean", "--all")
	s.zyppFails("Digest verification failed", "refresh")
}

// TestZypperRecommends has zypper find the live patches by itself, where the library is and lpbuild
// or libpulp's tools are; and nowhere else.
func TestZypperRecommends(t *testing.T) {
	dir := enter(t, usePackages)
	if dir == "" {
		return
	}
	for _, names := range [][2]string{{"lpbuild-engine", "glibc"}, {"glibc", "libpulp-tools"}} {
		s := newZypp(t, dir, "with-"+names[1])
		s.trust(dir)
		for i, name := range names {
			s.zypp("install", "--no-recommends", "bash", name)
			if s.has(packageName) {
				t.Fatalf("%s is installed without being asked for", packageName)
			}
			if s.zypp("install-new-recommends"); s.has(packageName) != (i == 1) {
				t.Errorf("with %q of %q the recommended package is installed: %v", names[:i+1],
					names, i != 1)
			}
		}
	}
}

// TestSupplements checks that rpm parses the rich dependency as such.
func TestSupplements(t *testing.T) {
	dir, err := packages()
	check(t, err)
	out := sh(t, "rpm", "-qp", "--nosignature", "--supplements", filepath.Join(dir, "v1/x86_64",
		packageName+"-"+first+"-0.x86_64.rpm"))
	if got := string(bytes.TrimSpace([]byte(out))); got != "(glibc and (lpbuild-engine or "+
		"libpulp-tools))" {
		t.Errorf("Supplements: %s", got)
	}
}
