package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// flavors adds both versions, built as the build service builds them, to the packages:
//
//	flavors/x86_64        the package itself, and one for each of two groups of builds
var flavors = sync.OnceValue(func() error {
	dir, err := packages()
	if err != nil {
		return err
	}
	f := &factory{dir}
	if err := f.directory("flavors-source", "obs:\n  flavor-builds: 3\n"); err != nil {
		return err
	}
	for _, version := range []string{first, second} {
		if version == second {
			if err := f.toSecond("flavors-source"); err != nil {
				return err
			}
		}
		for _, flavor := range []string{"", "group1of2", "group2of2"} {
			if err := f.flavor(flavor); err != nil {
				return err
			}
		}
	}
	return f.repository("flavors", "flavors-rpm/RPMS/x86_64/*.rpm")
})

// flavor builds one of them; the service puts its name into the spec file.
func (f *factory) flavor(name string) error {
	dist := f.path("flavors-source/dist")
	text, err := os.ReadFile(filepath.Join(dist, packageName+".spec"))
	if err != nil {
		return err
	}
	spec := f.path("flavor.spec")
	if err := os.WriteFile(spec, []byte(strings.ReplaceAll(string(text), "@BUILD_FLAVOR@", name)),
		0o644); err != nil {
		return err
	}
	return f.rpmbuild("flavors-rpm", "-bb", "--define", "_sourcedir "+dist, spec)
}

// TestRPMFlavors installs a package whose live patches were built in two flavours: its %post runs
// once, when those of both are there, and patches processes with builds of both. So does the
// upgrade, and erasing takes them out while they are there.
func TestRPMFlavors(t *testing.T) {
	dir := enter(t, func(t testing.TB, dir string) {
		usePackages(t, dir)
		check(t, flavors())
	})
	if dir == "" {
		return
	}
	s := newSystem(t, dir, "machine")
	s.config("LIVEPATCH_REVERT_ON_REMOVE=yes\n")
	s.settle(dir, "bash", "lpbuild-engine")
	all := []*live{s.service(serviceBuilds[0]), s.service(serviceBuilds[1])}
	if out, err := s.tryStrict("-U", flavorsOf(dir, first)[0]); err == nil {
		t.Error("the package is installed without its live patches")
	} else {
		prints(t, out, packageName+"-group1of2 = "+first+" is needed by",
			packageName+"-group2of2 = "+first+" is needed by")
	}
	for _, v := range []struct{ version, says string }{{first, saysFirst}, {second, saysSecond},
		{first, saysFirst}} {
		out := s.strict(append([]string{"-U", "--oldpackage"}, flavorsOf(dir, v.version)...)...)
		if counts(t, out, "patched: 2", "Failed: 0."); strings.Count(out, "Processes ") != 1 {
			t.Errorf("%%post has run more than once: %s", out)
		}
		say(all, v.says)
	}
	for i, build := range serviceBuilds {
		prints(t, s.strict("-ql", fmt.Sprintf("%s-group%dof2", packageName, i+1)),
			strings.TrimPrefix(build, "glibc-"))
	}
	out := s.strict("-e", packageName+"-group1of2", packageName+"-group2of2", packageName)
	counts(t, out, "reverted: 2", "Failed: 0.")
	say(all, saysNothing)
}

// flavorsOf returns the packages of a version: the one with the scripts first.
func flavorsOf(dir, version string) []string {
	var rpms []string
	for _, suffix := range []string{"", "-group1of2", "-group2of2"} {
		rpms = append(rpms, filepath.Join(dir, "packages/flavors/x86_64",
			packageName+suffix+"-"+version+"-0.x86_64.rpm"))
	}
	return rpms
}
