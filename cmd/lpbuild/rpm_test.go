package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"golang.org/x/sys/unix"
)

// rpmOfKind returns the path of a generated RPM.
func rpmOfKind(dir, kind, version string) string {
	return filepath.Join(dir, "packages", kind, "x86_64", packageName+"-"+version+"-0.x86_64.rpm")
}

// newSystem makes a root directory in which nothing is installed, with the service and its builds.
func newSystem(t testing.TB, dir, name string) *scratch {
	t.Helper()
	s := newMachine(t, dir, name)
	check(t, os.MkdirAll(s.path(liveDir), 0o755))
	check(t, os.CopyFS(s.path(liveDir), os.DirFS(filepath.Join(dir, "packages/live"))))
	check(t, os.Chmod(s.path(liveDir+"/service"), 0o755))
	s.config("")
	return s
}

// service starts the program on a build, in the root directory.
func (s *scratch) service(build string, env ...string) *live {
	s.t.Helper()
	return service(s.t, s.root, liveDir, build, env...)
}

// service starts the program on a build, out of a directory below root.
func service(t testing.TB, root, dir, build string, env ...string) *live {
	t.Helper()
	cmd := exec.Command(dir+"/service", dir+"/"+build+"/lib64/libc.so.6")
	cmd.Env = env
	return begin(t, root, cmd)
}

// tryStrict runs rpm as the root directory's administrator would: what is installed must be signed,
// and have what it requires.
func (s *scratch) tryStrict(args ...string) (string, error) {
	args = append([]string{"--root", s.root, "--dbpath", rpmDatabase, "--define",
		"_pkgverify_level all"}, args...)
	out, err := exec.Command("rpm", args...).CombinedOutput()
	return withoutDoubts(string(out)), err
}

// strict runs tryStrict, which must succeed, and returns its output.
func (s *scratch) strict(args ...string) string {
	s.t.Helper()
	out, err := s.tryStrict(args...)
	if err != nil {
		s.t.Fatalf("rpm %q: %v\n%s", args, err, out)
	}
	return out
}

// settle installs what the live patch package stands on: the vendor's key, and RPMs of the
// repository.
func (s *scratch) settle(dir string, names ...string) {
	s.t.Helper()
	s.strict("--import", filepath.Join(dir, "packages/repository/key.asc"))
	args := []string{"-U"}
	for _, name := range names {
		found, err := filepath.Glob(filepath.Join(dir, "packages/v1/*", name+"-[0-9]*.rpm"))
		check(s.t, err)
		args = append(args, found...)
	}
	s.strict(args...)
}

// counts fails the test if the summary of what became of processes is another one. How many were
// skipped is not compared: the transaction's own programs are seen, too, and run with the machine's
// own C library.
func counts(t testing.TB, text, changed, rest string) {
	t.Helper()
	pattern := `(?m)^Processes ` + regexp.QuoteMeta(changed) + `, Skipped: \d, ` +
		regexp.QuoteMeta(rest) + `$`
	if !regexp.MustCompile(pattern).MatchString(text) {
		t.Errorf("it prints %q, without %s", text, pattern)
	}
}

// say checks the answers of all processes.
func say(all []*live, want string) {
	for _, l := range all {
		l.t.Helper()
		l.says(want)
	}
}

// TestRPM brings a package of live patches, as it was made from a repository, onto a machine of its
// own with real rpm, which checks its signature and what it requires: first installation, again,
// upgrade, downgrade, erasing with and without taking the live patch out. Processes with two builds
// of the library are patched, those of another root directory are left alone.
func TestRPM(t *testing.T) {
	dir := enter(t, usePackages)
	if dir == "" {
		return
	}
	s := newSystem(t, dir, "machine")
	s.settle(dir, "bash", "lpbuild-engine")
	testVersions(t, dir, s, "v2")
}

// TestRPMBundled does the same with a package that carries the engine, where lpbuild is not
// installed.
func TestRPMBundled(t *testing.T) {
	dir := enter(t, usePackages)
	if dir == "" {
		return
	}
	s := newSystem(t, dir, "machine")
	s.settle(dir, "bash")
	testVersions(t, dir, s, "bundled")
}

// testVersions installs and erases the versions of a kind.
func testVersions(t testing.TB, dir string, s *scratch, kind string) {
	t.Helper()
	var inside []*live
	for _, build := range serviceBuilds {
		inside = append(inside, s.service(build))
	}
	outside := service(t, "", filepath.Join(dir, "packages/live"), serviceBuilds[0])

	counts(t, s.strict("-U", rpmOfKind(dir, kind, first)), "patched: 2", "Failed: 0.")
	say(inside, saysFirst)
	counts(t, s.strict("-U", "--replacepkgs", rpmOfKind(dir, kind, first)), "patched: 0",
		"Failed: 0. In 2: already applied.")
	counts(t, s.strict("-U", rpmOfKind(dir, kind, second)), "patched: 2", "Failed: 0.")
	say(inside, saysSecond)
	counts(t, s.strict("-U", "--oldpackage", rpmOfKind(dir, kind, first)), "patched: 2",
		"Failed: 0.")
	say(inside, saysFirst)
	prints(t, s.strict("-e", packageName),
		"2 processes keep live patches of "+packageName+"; to revert them: lpbuild-engine "+
			"revert --all ")
	say(inside, saysFirst)
	s.config("LIVEPATCH_REVERT_ON_REMOVE=yes\n")
	prints(t, s.strict("-U", rpmOfKind(dir, kind, first)), "In 2: already applied.\n")
	counts(t, s.strict("-e", packageName), "reverted: 2", "Failed: 0.")
	say(append(inside, outside), saysNothing)
	if left, err := filepath.Glob(s.path("/usr/lib*/" + packageName)); err != nil || len(left) > 0 {
		t.Errorf("%q is left, %v", left, err)
	}
}

// TestRPMRefused has real rpm refuse what is not signed with the vendor's key, and what requires
// something that is not there.
func TestRPMRefused(t *testing.T) {
	dir := enter(t, usePackages)
	if dir == "" {
		return
	}
	s := newSystem(t, dir, "machine")
	l := s.service(serviceBuilds[0])
	install := func(rpm, want string) {
		t.Helper()
		out, err := s.tryStrict("-U", rpm)
		if err == nil {
			t.Errorf("%s was installed", rpm)
		}
		prints(t, out, want)
	}
	install(rpmOfKind(dir, "v1", first), "NOKEY")
	s.settle(dir, "bash")
	install(rpmOfKind(dir, "v1", first), "lpbuild-engine is needed by "+packageName)
	s.settle(dir, "lpbuild-engine")
	install(filepath.Join(dir, "packages/system-rpm/RPMS/x86_64",
		packageName+"-"+first+"-0.x86_64.rpm"), "no signature")
	l.says(saysNothing)
}

// TestRPMOutside installs in a snapshot, as a transactional update does: processes of the running
// system, which is outside of the root directory that rpm works on, are patched.
func TestRPMOutside(t *testing.T) {
	dir := enter(t, usePackages)
	if dir == "" {
		return
	}
	running, snapshot := newSystem(t, dir, "running"), newSystem(t, dir, "snapshot")
	for _, s := range []*scratch{running, snapshot} {
		check(t, os.MkdirAll(s.path("/var/livepatches"), 0o755))
	}
	// for those inside
	check(t, unix.Mount(running.path("/var/livepatches"), snapshot.path("/var/livepatches"), "",
		unix.MS_BIND, ""))
	snapshot.settle(dir, "bash", "lpbuild-engine")
	all := []*live{running.service(serviceBuilds[0]), running.service(serviceBuilds[1]),
		snapshot.service(serviceBuilds[0])}
	transactionalUpdate(t, dir, running, snapshot)
	t.Setenv("TRANSACTIONAL_UPDATE", "true")
	counts(t, snapshot.strict("-U", rpmOfKind("/", "v2", first)), "patched: 3", "Failed: 0.")
	say(all, saysFirst)
	counts(t, snapshot.strict("-U", rpmOfKind("/", "v2", second)), "patched: 3", "Failed: 0.")
	say(all, saysSecond)
}
