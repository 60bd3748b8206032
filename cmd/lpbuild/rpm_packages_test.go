package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/distro"
	"github.com/lpbuild/lpbuild/internal/enginecli"
	"github.com/lpbuild/lpbuild/internal/program"
	"github.com/lpbuild/lpbuild/internal/ulpcli"
)

// Packages as a distributor makes them, by the program's own commands: from a signed repository
// with released builds to signed RPMs. lpbuild is the one of its own RPM. Everything is made once
// for all tests that want it.

// packageName is the live patch package. It has two versions; their malloc says which.
const (
	packageName = "glibc-livepatches"
	first       = "0.1"
	second      = "0.2"
)

// What the service says without a live patch, and with those of the two versions.
const (
	saysNothing = "glibc"
	saysFirst   = "glibc-livepatch"
	saysSecond  = "glibc-livepatch 2"
)

// serviceBuilds are two of the builds, one before and one after glibc 2.34. Each is in a directory
// of its own below liveDir.
var serviceBuilds = []string{"glibc-2.31-150300.26.5", "glibc-2.38-150600.12.1"}

// TestMain makes the test's program lpbuild, where it is called so.
func TestMain(m *testing.M) {
	testscript.Main(&withPackages{m}, map[string]func(){"lpbuild": main, "ulp": main,
		enginecli.Name: engineMain})
}

// engineMain is what cmd/lpbuild-engine does.
func engineMain() {
	engine := console.Program{Root: engineRoot, Before: ulpcli.CommandFirst, Groups: lpbuild.Groups}
	program.SetName(enginecli.Name)
	os.Exit(engine.Run(os.Args[1:], console.Std()))
}

// withPackages removes the packages when all tests are over.
type withPackages struct{ *testing.M }

func (m *withPackages) Run() int {
	defer func() {
		for _, dir := range made.dirs {
			_ = os.RemoveAll(dir)
		}
	}()
	return m.M.Run()
}

// made are the directories that were made for all tests.
var made struct {
	sync.Mutex
	dirs []string
}

// once makes a directory for all tests that want it.
func once(fill func(dir string) error) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "lpbuild-packages-*")
		if err != nil {
			return "", err
		}
		made.Lock()
		made.dirs = append(made.dirs, dir)
		made.Unlock()
		return dir, fill(dir)
	})
}

// packages returns the directory with all of them:
//
//	own/                  lpbuild's own RPMs, as "make package" makes them, and what is in them
//	repository/           the builds: update, update_debug, key.asc
//	v1/x86_64, v2/...     signed repositories: lpbuild, stand-ins, the first version, and both
//	bundled/x86_64        both versions, with "engine: bundled"
//	live/                 the service, and two of the builds that it runs with
var packages = once(func(dir string) error {
	f := &factory{dir}
	for _, step := range []func() error{f.own, f.distributor, f.standIns, f.live, f.system,
		f.bundled} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
})

// usePackages makes them, and a link to them in the directory of a test.
func usePackages(t testing.TB, dir string) {
	t.Helper()
	made, err := packages()
	check(t, err)
	check(t, os.Symlink(made, filepath.Join(dir, "packages")))
}

// factory makes packages in a directory.
type factory struct{ dir string }

func (f *factory) path(elements ...string) string {
	return filepath.Join(append([]string{f.dir}, elements...)...)
}

// run runs a program from PATH, which includes lpbuild's own RPM.
func (f *factory) run(dir string, args ...string) error {
	path := f.path("bin") + ":" + os.Getenv("PATH")
	cmd := exec.Command("env", append([]string{"PATH=" + path}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+f.path("home"), "LPBUILD_CACHE="+f.path("store"),
		"LC_ALL=C.UTF-8",
		"VC_REALNAME=Jane Doe", "VC_MAILADDR=jane@example.com", "SOURCE_DATE_EPOCH=1767323045")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%q: %w\n%s", args, err, out)
	}
	return nil
}

func (f *factory) sh(dir, script string, args ...string) error {
	return f.run(dir, append([]string{"sh", "-ec", script, "sh"}, args...)...)
}

// own makes lpbuild's RPM.
func (f *factory) own() error {
	cmd := exec.Command("../../packaging/build", f.path("own"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("packaging/build: %w\n%s", err, out)
	}
	return f.sh(f.dir,
		`mkdir bin home x; cd x; rpm2cpio ../own/lpbuild-[0-9]*.x86_64.rpm | cpio -id --quiet
		rpm2cpio ../own/lpbuild-engine-[0-9]*.x86_64.rpm | cpio -id --quiet
		mv usr/bin/lpbuild usr/bin/lpbuild-engine ../bin
		mv usr/lib/rpm/macros.d/macros.userspace-livepatch-lpbuild ../macros; rm -r ../x`)
}

// distributor makes the repository with the builds.
func (f *factory) distributor() error {
	_, err := distro.StandardRepository(context.Background(), f.path("repository"),
		distro.StandardOptions{})
	return err
}

// standIns makes RPMs that have names of what a system has, and nothing in them.
func (f *factory) standIns() error {
	for name, provides := range map[string]string{"bash": "/bin/sh", "gcc": "gcc(system)",
		"glibc": "glibc(system)", "libpulp-tools": "ulp(system)"} {
		text := fmt.Sprintf("Name: %s\nVersion: 1\nRelease: 1\nSummary: A stand-in\nLicense: "+
			"Apache-2.0\nBuildArch: noarch\n"+
			"AutoReqProv: no\nProvides: %s\n%%description\nThe system of the tests has it "+
			"without a package.\n%%files\n", name, provides)
		spec := f.path(name + ".spec")
		if err := os.WriteFile(spec, []byte(text), 0o644); err != nil {
			return err
		}
		if err := f.rpmbuild("stand-ins", "-bb", spec); err != nil {
			return err
		}
	}
	return nil
}

// live makes what is patched.
func (f *factory) live() error {
	source, err := filepath.Abs("testdata/live/service.c")
	if err != nil {
		return err
	}
	if err := os.Mkdir(f.path("live"), 0o755); err != nil {
		return err
	}
	script := `gcc -O2 -o service "$1"; shift; for build; do mkdir $build; (cd $build
		rpm2cpio ../../repository/update/x86_64/$build.x86_64.rpm |
		cpio -id --quiet './lib64/libc*'); done`
	return f.sh(f.path("live"), script, append([]string{source}, serviceBuilds...)...)
}

// rpmbuild builds below a directory of its own, with the macros that lpbuild's RPM brings.
func (f *factory) rpmbuild(top string, args ...string) error {
	return f.run(f.dir, append([]string{"rpmbuild", "--quiet", "--nodeps", "--load",
		f.path("macros"), "--define", "_topdir " + f.path(top),
		"--define", "suse_version 1600", "--define", "_binary_payload w1.gzdio"}, args...)...)
}

// directory makes a package directory for the first version, and has everything built.
func (f *factory) directory(name, config string) error {
	dir := f.path(name)
	if err := f.run(f.dir, "lpbuild", "init", dir, "--name", packageName, "--product", "SLE-15-SP5",
		"--key", f.path("repository/key.asc"),
		"--repository", f.path("repository/update"), "--debuginfo",
		f.path("repository/update_debug")); err != nil {
		return err
	}
	if err := f.sh(dir, `printf "$1" >>lpbuild.yaml; lpbuild download`, config); err != nil {
		return err
	}
	return f.sh(dir, "lpbuild build; lpbuild dist")
}

// toSecond makes a second version of a package directory.
func (f *factory) toSecond(name string) error {
	return f.sh(f.path(name),
		`sed -i 's/^version: "0.1"/version: "0.2"/' lpbuild.yaml
		sed -i 's/"glibc-livepatch"/"glibc-livepatch 2"/' libc_livepatch1.c
		lpbuild changes add "Fix CVE-2026-2"; lpbuild build; lpbuild dist`)
}

// build has rpmbuild make the package of a directory, with its %check.
func (f *factory) build(name string) error {
	dist := f.path(name, "dist")
	return f.rpmbuild(name+"-rpm", "-ba", "--define", "_sourcedir "+dist,
		filepath.Join(dist, packageName+".spec"))
}

// repository makes a signed repository of packages.
func (f *factory) repository(name string, patterns ...string) error {
	var rpms []string
	for _, p := range patterns {
		found, err := filepath.Glob(f.path(p))
		if err != nil || len(found) == 0 {
			return errors.Join(err, fmt.Errorf("no RPM is %s", p))
		}
		rpms = append(rpms, found...)
	}
	r, err := distro.StandardRepository(context.Background(), f.path("repository"),
		distro.StandardOptions{})
	if err != nil {
		return err
	}
	return distro.MakeRepository(context.Background(), f.path(name), rpms,
		distro.RepositoryOptions{Key: r.Key, SignRPMs: true})
}

// system makes the packages that require lpbuild.
func (f *factory) system() error {
	if err := errors.Join(f.directory("system", ""), f.build("system")); err != nil {
		return err
	}
	base := []string{"own/lpbuild-[0-9]*.x86_64.rpm", "own/lpbuild-engine-[0-9]*.x86_64.rpm",
		"stand-ins/RPMS/noarch/*.rpm", "system-rpm/RPMS/x86_64/*.rpm"}
	if err := f.repository("v1", base...); err != nil {
		return err
	}
	if err := errors.Join(f.toSecond("system"), f.build("system")); err != nil {
		return err
	}
	return f.repository("v2", base...)
}

// bundled makes the packages that bring the engine with them.
func (f *factory) bundled() error {
	if err := errors.Join(f.directory("bundled", "engine: bundled\n"), f.build("bundled"),
		f.toSecond("bundled"), f.build("bundled")); err != nil {
		return err
	}
	return f.repository("bundled", "bundled-rpm/RPMS/x86_64/*.rpm")
}
