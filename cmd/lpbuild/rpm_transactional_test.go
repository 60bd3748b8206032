package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// transactionalUpdate makes of two root directories a running system, in which the test itself is
// from here on, the first process of all, and a snapshot as a transactional update has it: a
// directory below, with proc of the running system, and with a /run, a /tmp and a /var of its own.
// Packages are in /rpms and /packages.
func transactionalUpdate(t *testing.T, dir string, running, snapshot *scratch) {
	t.Helper()
	places := map[string]string{"/snapshot": snapshot.root, "/rpms": dir}
	if packages, err := filepath.EvalSymlinks(filepath.Join(dir, "packages")); err == nil {
		places["/packages"] = packages
	}
	for place, source := range places {
		check(t, os.Mkdir(running.path(place), 0o755))
		check(t, unix.Mount(source, running.path(place), "", unix.MS_BIND|unix.MS_REC, ""))
	}
	check(t, unix.Chroot(running.root))
	check(t, os.Chdir("/"))
	// where the test clears up at its end
	check(t, unix.Mount("tmpfs", "/tmp", "tmpfs", unix.MS_REMOUNT, ""))
	running.root, snapshot.root = "/", "/snapshot"
}

// makeBothAndNext makes the packages of two versions, and a newer build of the library.
func makeBothAndNext(t testing.TB, dir string) {
	makeBoth(t, dir)
	sources, err := filepath.Abs("../../pkg/engine/libpulp/testdata")
	check(t, err)
	check(t, os.Mkdir(filepath.Join(dir, "next"), 0o755))
	sh(t, "gcc", "-O2", "-shared", "-fPIC", "-Wl,--build-id", "-o",
		filepath.Join(dir, "next/libtarget.so"), "-Wl,-soname,libtarget.so", sources+"/library.c")
}

// TestRPMTransactional installs in a snapshot in a chroot, as a transactional update does: the
// processes of the running system are patched from its /var/livepatches, of which the chroot sees
// nothing. Without that variable they are left alone, and named.
func TestRPMTransactional(t *testing.T) {
	dir := enter(t, makeBoth)
	if dir == "" {
		return
	}
	running, snapshot := newScratch(t, dir, "running"), newScratch(t, dir, "snapshot")
	transactionalUpdate(t, dir, running, snapshot)
	l := running.start("program")
	prints(t, snapshot.rpm("-U", rpmOf("/rpms", "1")),
		"Processes patched: 0, Skipped: 1, Failed: 0.\n", "skipped: program (", "left alone")
	l.says(without)

	// as if it was a transactional update, in any chroot
	snapshot.config("LIVEPATCH_TARGET=always\n")
	prints(t, snapshot.rpm("-U", "--replacepkgs", rpmOf("/rpms", "1")),
		"Processes patched: 1, Skipped: 0, Failed: 0.\n")
	l.says(version1)
	snapshot.config("")
	t.Setenv("TRANSACTIONAL_UPDATE", "true")
	l = running.start("program")
	prints(t, snapshot.rpm("-U", "--replacepkgs", rpmOf("/rpms", "1")),
		"Processes patched: 1, Skipped: 0, Failed: 0. In 1: already applied.\n")
	l.says(version1)
	prints(t, snapshot.rpm("-U", rpmOf("/rpms", "2")),
		"Processes patched: 2, Skipped: 0, Failed: 0.\n")
	l.says(version2)
	const lp = "target-livepatches/2/lp/libtarget_1.0-1_livepatch1.so "
	if list := sh(t, "find", "/var/livepatches", "-type", "f", "-printf",
		"%P "); list != "target-livepatches/next "+lp && list != lp+"target-livepatches/next " {
		t.Errorf("/var/livepatches has %q", list)
	}
	if list := sh(t, "find", "/snapshot/var", "-path", "*livepatches*"); list != "" {
		t.Errorf("the snapshot has %q", list)
	}
	// A process of the running system that begins later gets it by the timer's command.
	late := running.start("program")
	prints(t, sh(t, "/usr/bin/lpbuild-engine", "hook", "reconcile"),
		"Processes patched: 1, Skipped: 0, Failed: 0. In 2: already applied.\n")
	late.says(version2)
	snapshot.rpm("-e", "target-livepatches")
	if list := sh(t, "find", "/var/livepatches", "-mindepth", "1"); list != "" {
		t.Errorf("/var/livepatches has %q", list)
	}
}

// TestRPMTransactionalRevert erases a package in a snapshot that the running system has, too: its
// processes are rid of the live patch, and the timer's command does not bring it back from what the
// running system still has of it.
func TestRPMTransactionalRevert(t *testing.T) {
	dir := enter(t, makeBoth)
	if dir == "" {
		return
	}
	running, snapshot := newScratch(t, dir, "running"), newScratch(t, dir, "snapshot")
	transactionalUpdate(t, dir, running, snapshot)
	l := running.start("program")
	for _, s := range []*scratch{snapshot, running} {
		s.config("LIVEPATCH_REVERT_ON_REMOVE=yes\n")
		s.rpm("-U", rpmOf("/rpms", "1"))
	}
	l.says(version1)
	t.Setenv("TRANSACTIONAL_UPDATE", "true")
	prints(t, snapshot.rpm("-e", "target-livepatches"),
		"Processes reverted: 1, Skipped: 0, Failed: 0.\n")
	l.says(without)
	if out := sh(t, "/usr/bin/lpbuild-engine", "hook", "reconcile"); out != "" {
		t.Errorf("the timer's command prints %q", out)
	}
	l.says(without)
}

// TestRPMTransactionalLibrary updates a library together with its live patches: programs that the
// running system starts before the next boot have the new one, in which there is nothing to patch;
// when the package goes they have their own again.
func TestRPMTransactionalLibrary(t *testing.T) {
	dir := enter(t, makeBothAndNext)
	if dir == "" {
		return
	}
	running, snapshot := newScratch(t, dir, "running"), newScratch(t, dir, "snapshot")
	transactionalUpdate(t, dir, running, snapshot)
	const libraries = "/usr/lib/x86_64-linux-gnu/libtarget.so"
	running.copy("/rpms/libtarget.so", libraries)
	snapshot.copy("/rpms/next/libtarget.so", libraries)
	sh(t, "/sbin/ldconfig")
	has := func(want string) {
		t.Helper()
		if got := sh(t, "ldd", liveDir+"/program"); !strings.Contains(got,
			"libtarget.so => "+want) {
			t.Errorf("a new program has\n%swant %s", got, want)
		}
	}
	has("/lib/x86_64-linux-gnu/libtarget.so")
	t.Setenv("TRANSACTIONAL_UPDATE", "true")
	for _, version := range []string{"1", "2"} {
		moved := "/var/livepatches/target-livepatches/" + version + "/lib/libtarget.so"
		prints(t, snapshot.rpm("-U", rpmOf("/rpms", version)), "new processes get "+moved+"\n")
		has(moved)
	}
	prints(t, sh(t, "head", "-n1", "/etc/ld.so.conf"), "include /var/livepatches/ld.so.conf\n")
	snapshot.rpm("-e", "target-livepatches")
	has("/lib/x86_64-linux-gnu/libtarget.so")
	if list := sh(t, "find", "/var/livepatches", "/snapshot/var", "-path",
		"*livepatches*"); strings.Contains(list, ".so") {
		t.Errorf("/var/livepatches has %q", list)
	}
}
