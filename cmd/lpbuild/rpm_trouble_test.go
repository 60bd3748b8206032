package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// makeBoth makes the packages of two versions.
func makeBoth(t testing.TB, dir string) {
	makeLive(t, dir)
	makeRPM(t, dir, "1", "v1.so")
	makeRPM(t, dir, "2", "v2.so")
}

// TestRPMStuck has a process that cannot be stopped: the transaction waits no longer than its
// deadline, names that process, and patches the others. If rpm is killed in the middle of %post,
// all processes are as they should be, and rpm can be run again.
func TestRPMStuck(t *testing.T) {
	dir := enter(t, makeBoth)
	if dir == "" {
		return
	}
	s := newScratch(t, dir, "machine")
	other := s.start("program")
	stuck := s.start("vfork")
	out := s.rpm("-U", rpmOf(dir, "1"))
	prints(t, out, "Processes patched: 1, ", "Failed: 0.\n", "skipped: vfork (")
	other.says(version1)

	rpm := s.command("-U", rpmOf(dir, "2"))
	check(t, rpm.Start())
	await(t, "the hook", func() bool { return runs(t, "install", "--worker") })
	check(t, rpm.Process.Kill())
	_ = rpm.Wait()
	await(t, "the hook's end", func() bool { return !runs(t, "install", "--worker") })
	stuck.Kill()
	prints(t, s.rpm("-U", "--replacepkgs", "--replacefiles", rpmOf(dir, "2")), "Failed: 0.")
	other.says(version2)
}

// runs reports whether there is a process with words on its command line.
func runs(t testing.TB, words ...string) bool {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	check(t, err)
	for _, e := range entries {
		line, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil || e.Name()[0] < '0' || e.Name()[0] > '9' {
			continue
		}
		all := true
		for _, w := range words {
			all = all && strings.Contains("\x00"+string(line), "\x00"+w+"\x00")
		}
		if all {
			return true
		}
	}
	return false
}

// TestRPMMany patches many processes in one transaction.
func TestRPMMany(t *testing.T) {
	dir := enter(t, makeBoth)
	if dir == "" {
		return
	}
	s := newScratch(t, dir, "machine")
	s.config("") // the usual deadline
	const many = 500
	all := make([]*live, many)
	for i := range all {
		all[i] = s.start("program")
	}
	begin := time.Now()
	out := s.rpm("-U", rpmOf(dir, "1"))
	t.Logf("rpm -U with %d processes: %v", many, time.Since(begin))
	prints(t, out, "Processes patched: 500, Skipped: 0, Failed: 0.\n")
	if lines := strings.Count(out, "\n"); lines != 1 {
		t.Errorf("%d lines: %s", lines, out)
	}
	for _, l := range all {
		l.says(version1)
	}
}

// TestRPMPlaces installs where nothing is to be done, and says nothing: in a build root, without
// /proc, and where the administrator does not want it.
func TestRPMPlaces(t *testing.T) {
	dir := enter(t, makeBoth)
	if dir == "" {
		return
	}
	s := newScratch(t, dir, "machine")
	l := s.start("program")
	install := func(want string) {
		t.Helper()
		if out := s.rpm("-U", "--replacepkgs", rpmOf(dir, "1")); out != want {
			t.Errorf("it prints %q, want %q", out, want)
		}
		l.says(without)
	}
	check(t, os.WriteFile(s.path("/.buildenv"), nil, 0o644))
	install("")
	check(t, os.Remove(s.path("/.buildenv")))
	check(t, unix.Unmount(s.path("/proc"), unix.MNT_DETACH))
	install("")
	check(t, unix.Mount("proc", s.path("/proc"), "proc", 0, ""))
	s.config("LIVEPATCH_TARGET=\"never\"\n")
	install("Live patches are not applied here: LIVEPATCH_TARGET=never in " +
		"/etc/sysconfig/livepatching\n")
	s.config("$(touch /owned)\nLIVEPATCH_TARGET=`touch " +
		"/owned`\nLIVEPATCH_TARGET_LIVEPATCHES=\"$(touch /owned)\"; touch /owned\n")
	prints(t, s.rpm("-U", "--replacepkgs", rpmOf(dir, "1")), "Processes patched: 1,")
	if _, err := os.Stat(s.path("/owned")); err == nil {
		t.Error("the sysconfig file was run")
	}
	l.says(version1)
}

// TestRPMNative patches a process that has preloaded nothing, unless the administrator wants
// libpulp's engine alone.
func TestRPMNative(t *testing.T) {
	dir := enter(t, makeBoth)
	if dir == "" {
		return
	}
	s := newScratch(t, dir, "machine")
	// which ld.so does without, and says so
	check(t, os.WriteFile(s.path(liveDir+"/libpulp.so"), nil, 0o644))
	l := s.start("program")
	s.config("LIVEPATCH_ENGINE=pulp\n")
	prints(t, s.rpm("-U", rpmOf(dir, "1")),
		"Processes patched: 0, Skipped: 1, Failed: 0.\nskipped: program (")
	l.says(without)
	s.config("LIVEPATCH_REVERT_ON_REMOVE=yes\n")
	prints(t, s.rpm("-U", "--replacepkgs", rpmOf(dir, "1")),
		"Processes patched: 1, Skipped: 0, Failed: 0.\n")
	l.says(version1)
	prints(t, s.rpm("-U", rpmOf(dir, "2")), "Processes patched: 1, Skipped: 0, Failed: 0.\n")
	l.says(version2)
	prints(t, s.rpm("-e", "target-livepatches"), "Processes reverted: 1, Skipped: 0, Failed: 0.\n")
	l.says(without)
}
