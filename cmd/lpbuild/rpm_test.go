package main

import (
	"os"
	"testing"
)

// TestRPM brings live patch packages onto a machine of its own with real rpm: first installation, again, upgrade, downgrade,
// erasing with and without taking the live patch out; processes of another root folder are left alone.
func TestRPM(t *testing.T) {
	dir := enter(t, func(t *testing.T, dir string) {
		makeLive(t, dir)
		makeRPM(t, dir, "1", "v1.so", false)
		makeRPM(t, dir, "2", "v2.so", false)
	})
	if dir == "" {
		return
	}
	s := newScratch(t, dir, "machine")
	inside, outside := s.start("program"), start(t, "", dir, "program")

	prints(t, s.rpm("-U", rpmOf(dir, "system", "1")), "Processes patched: 1, Skipped: 0, Failed: 0.\n")
	inside.says(version1)
	prints(t, s.rpm("-U", "--replacepkgs", rpmOf(dir, "system", "1")), "Processes patched: 0, Skipped: 0, Failed: 0. In 1: already applied.\n")
	prints(t, s.rpm("-U", rpmOf(dir, "system", "2")), "Processes patched: 1, Skipped: 0, Failed: 0.\n")
	inside.says(version2)
	prints(t, s.rpm("-U", "--oldpackage", rpmOf(dir, "system", "1")), "Processes patched: 1, Skipped: 0, Failed: 0.\n")
	inside.says(version1)
	if out := s.rpm("-e", "target-livepatches"); out != "" {
		t.Errorf("erasing says %q", out)
	}
	inside.says(version1)
	s.config("LIVEPATCH_REVERT_ON_REMOVE=yes\n")
	s.rpm("-U", rpmOf(dir, "system", "1"))
	prints(t, s.rpm("-e", "target-livepatches"), "Processes reverted: 1, Skipped: 0, Failed: 0.\n")
	inside.says(without)
	outside.says(without)
}

// TestRPMNative patches a process that has preloaded nothing, unless the administrator wants libpulp's engine alone.
func TestRPMNative(t *testing.T) {
	dir := enter(t, makeBoth)
	if dir == "" {
		return
	}
	s := newScratch(t, dir, "machine")
	check(t, os.WriteFile(s.path(liveDir+"/libpulp.so"), nil, 0o644)) // which ld.so does without, and says so
	l := s.start("program")
	s.config("LIVEPATCH_ENGINE=pulp\n")
	prints(t, s.rpm("-U", rpmOf(dir, "system", "1")), "Processes patched: 0, Skipped: 1, Failed: 0.\nskipped: program (")
	l.says(without)
	s.config("LIVEPATCH_REVERT_ON_REMOVE=yes\n")
	prints(t, s.rpm("-U", "--replacepkgs", rpmOf(dir, "system", "1")), "Processes patched: 1, Skipped: 0, Failed: 0.\n")
	l.says(version1)
	prints(t, s.rpm("-U", rpmOf(dir, "system", "2")), "Processes patched: 1, Skipped: 0, Failed: 0.\n")
	l.says(version2)
	prints(t, s.rpm("-e", "target-livepatches"), "Processes reverted: 1, Skipped: 0, Failed: 0.\n")
	l.says(without)
}
