package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/spec"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	rpmhelper "github.com/lpbuild/lpbuild/rpm-helper"
)

// Hand-made packages: the generated spec file around containers that were made for a test, for a
// stand-in of libpulp.so that misbehaves when it is asked to. They are made in a moment.

// makeLive compiles a library, a program, a stand-in for libpulp.so, and packs live patches v1.so
// and v2.so.
func makeLive(t testing.TB, dir string) {
	t.Helper()
	sources, err := filepath.Abs("../../pkg/engine/libpulp/testdata")
	check(t, err)
	gcc := func(args ...string) { sh(t, "gcc", append([]string{"-O2"}, args...)...) }
	so := []string{"-shared", "-fPIC", "-Wl,--build-id"}
	target := filepath.Join(dir, "libtarget.so")
	gcc(append(so, "-o", filepath.Join(dir, "libpulp.so"), "-fvisibility=hidden",
		sources+"/runtime.c")...)
	gcc(append(so, "-o", target, "-Wl,-soname,libtarget.so", "-fpatchable-function-entry=16,14",
		"-Wl,--hash-style=both",
		"-fcf-protection=none", sources+"/library.c")...)
	gcc("-o", filepath.Join(dir, "program"), sources+"/program.c", "-pthread", target)
	gcc("-o", filepath.Join(dir, "vfork"), sources+"/../../testdata/vfork.c", target)
	for name, tens := range map[string]int{"v1.so": 10, "v2.so": 20} {
		plain := filepath.Join(dir, "plain-"+name)
		gcc(append(so, "-o", plain, fmt.Sprintf("-DTENS=%d", tens), sources+"/container.c")...)
		check(t, packLive(plain, filepath.Join(dir, name), target))
	}
}

func packLive(plain, path, target string) error {
	image, err := targettest.Pack(plain, path, target, ulp.PackOptions{}, "one:one_lp",
		"two:two_lp")
	if err != nil {
		return err
	}
	return os.WriteFile(path, image, 0o755)
}

// makeRPM builds a live patch package of a version: the spec file is the generated one, with files
// that are there already in the place of a build.
func makeRPM(t testing.TB, dir, version, container string) {
	t.Helper()
	p := spec.Package{
		Name: "target-livepatches", Version: version, Summary: "Live patches for target",
		License: "LGPL-2.1-or-later",
		URL:     "https://example.com", Description: "For a test.", Arch: []string{"x86_64"},
		Packages:  []string{"target"},
		Libraries: []string{"libtarget.so"}, Time: 1767323045,
	}
	text, err := p.Render()
	check(t, err)
	s := string(text)
	for from, to := range map[string]string{
		"%setup -q\n": "", "lpbuild build --offline --arch %{_arch}\n": "",
		"lpbuild build --check --offline --arch %{_arch}\n":                              "",
		"BuildRequires:  gcc\nBuildRequires:  lpbuild\n":                                 "",
		"Source0:        %{name}-%{version}.tar.xz\nSource1:        %{name}-rpmlintrc\n": "",
		"lpbuild install --arch %{_arch} --root %{buildroot}\n": "install -D -m 0755 " +
			filepath.Join(dir, container) +
			" %{buildroot}%{lpdir}/libtarget_1.0-1_livepatch1.so\n",
	} {
		if !strings.Contains(s, from) {
			t.Fatalf("the generated spec file has no %q", from)
		}
		s = strings.Replace(s, from, to, 1)
	}
	name := filepath.Join(dir, "p.spec")
	check(t, os.WriteFile(name, []byte(s), 0o644))
	// read again for each target, which what --load names is not
	macros := filepath.Join(dir, ".rpmmacros")
	data, err := rpmhelper.FS.ReadFile("macros.userspace-livepatch")
	check(t, err)
	check(t, os.WriteFile(macros, data, 0o644))
	sh(t, "env", "HOME="+dir, "rpmbuild", "-bb", "--quiet", "--define",
		"_topdir "+filepath.Join(dir, "rpmbuild"), "--define", "suse_version 1600",
		"--define", "_binary_payload w1.gzdio", "--define", "_rpmdir "+filepath.Join(dir, "rpms"),
		"--target", "x86_64", name)
}

// rpmOf returns the path of an RPM that makeRPM built.
func rpmOf(dir, version string) string {
	return filepath.Join(dir, "rpms", "x86_64", "target-livepatches-"+version+"-0.x86_64.rpm")
}

// newScratch makes a root directory below dir, with the programs of the hand-made packages and
// lpbuild in it.
func newScratch(t testing.TB, dir, name string) *scratch {
	t.Helper()
	s := newMachine(t, dir, name)
	s.fill(dir)
	return s
}

// fill puts in the programs to be patched, lpbuild, and its helper for RPM.
func (s *scratch) fill(dir string) {
	s.t.Helper()
	check(s.t, os.MkdirAll(s.path(liveDir), 0o755))
	for _, name := range []string{"libtarget.so", "libpulp.so", "program", "vfork"} {
		s.copy(filepath.Join(dir, name), liveDir+"/"+name)
	}
	self, err := os.Executable()
	check(s.t, err)
	// the test's program is lpbuild-engine if it is called so
	s.copy(self, "/usr/bin/lpbuild-engine")
	data, err := rpmhelper.FS.ReadFile("rpm-helper")
	check(s.t, err)
	check(s.t, os.MkdirAll(s.path("/usr/lib/lpbuild"), 0o755))
	check(s.t, os.WriteFile(s.path("/usr/lib/lpbuild/rpm-helper"), data, 0o755))
	s.config("LIVEPATCH_DEADLINE=3s\n")
}
