package rpmhelper

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// unpack writes the files into a directory, with another program in place of lpbuild.
func unpack(t *testing.T, lpbuild string) string {
	t.Helper()
	dir := t.TempDir()
	entries, err := FS.ReadDir(".")
	if err != nil || len(entries) != 5 {
		t.Fatal(len(entries), err)
	}
	for _, e := range entries {
		data, err := FS.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), "/usr/bin/lpbuild-engine", lpbuild)
		if err := os.WriteFile(filepath.Join(dir, e.Name()), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestScript passes its arguments on unchanged and always succeeds.
func TestScript(t *testing.T) {
	stub := filepath.Join(t.TempDir(), "lpbuild")
	if err := os.WriteFile(stub, []byte("#!/bin/sh\nfor a; do printf '<%s>' \"$a\"; done\nexit "+
		"7\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(lpbuild string, args ...string) string {
		t.Helper()
		cmd := exec.Command("sh", append([]string{filepath.Join(unpack(t, lpbuild), "rpm-helper")},
			args...)...)
		cmd.Dir = t.TempDir()
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%q: %v", args, err)
		}
		if made, err := os.ReadDir(cmd.Dir); err != nil || len(made) > 0 {
			t.Errorf("%q made %v, %v", args, made, err)
		}
		return string(out)
	}
	for _, action := range []string{"install", "remove", "movelibs", "removelibs"} {
		if got, want := run(stub, action, "p", "1~2", "l.so", "1"), "<hook><"+action+
			"><--><p><1~2><l.so><1>"; got != want {
			t.Errorf("the script calls %s, want %s", got, want)
		}
	}
	hostile := []string{"$(touch owned)", "a b", "`touch owned`;touch owned", "--worker", "*"}
	if got, want := run(stub, append([]string{"install"}, hostile...)...), "<hook><install><--><"+
		strings.Join(hostile, "><")+">"; got != want {
		t.Errorf("the script calls %s, want %s", got, want)
	}
	for _, args := range [][]string{{"purge", "p"}, {"touch owned"}, {}} {
		if got := run(stub, args...); strings.Contains(got, "<") {
			t.Errorf("%q: the script calls %s", args, got)
		}
	}
	if got := run("/nowhere/lpbuild", "install", "p", "1", "l.so", "1"); got != "" {
		t.Errorf("without lpbuild the script prints %q", got)
	}
}

// TestShellcheck expects no complaints by shellcheck about the script.
func TestShellcheck(t *testing.T) {
	if _, err := exec.LookPath("shellcheck"); err != nil {
		t.Skip("shellcheck is not installed")
	}
	if out, err := exec.Command("shellcheck", "--shell=sh",
		"rpm-helper").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestUnits expects units that systemd understands.
func TestUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	dir := unpack(t, "/bin/true")
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no",
		filepath.Join(dir, "lpbuild-reconcile.service"),
		filepath.Join(dir, "lpbuild-reconcile.timer")).CombinedOutput()
	var mine []string
	for line := range strings.Lines(string(out)) { // the machine's own units may cause messages
		if strings.Contains(line, "lpbuild-reconcile") &&
			!strings.Contains(line, "marked executable") {
			mine = append(mine, line)
		}
	}
	if err != nil || len(mine) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

// TestServicePermits expects the service to grant what the engine needs: real-time priority, the
// limits of other users' processes, and no system call filter of its own, with which it could not
// suspend those of others.
func TestServicePermits(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("dropping capabilities needs them")
	}
	unit, err := FS.ReadFile("lpbuild-reconcile.service")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(unit), "\nCapabilityBoundingSet=")
	list, _, _ := strings.Cut(rest, "\n")
	bounds := "-all"
	for name := range strings.FieldsSeq(list) {
		bounds += "," + strings.Replace(strings.ToLower(name), "cap_", "+", 1)
	}
	other := exec.Command("sleep", "1000")
	other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534,
		Gid: 65534}}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = other.Process.Kill()
		_ = other.Wait()
	}()
	for capability, need := range map[string][]string{
		"CAP_SYS_NICE": {"chrt", "--fifo", "1", "true"},
		"CAP_SYS_RESOURCE": {"prlimit", "--pid", strconv.Itoa(other.Process.Pid),
			"--nofile=1000:2000"},
	} {
		if !slices.Contains(strings.Fields(list), capability) {
			t.Errorf("%s lacks %s", list, capability)
		}
		if exec.Command(need[0], need[1:]...).Run() != nil {
			continue // root of this machine lacks it, too
		}
		if out, err := exec.Command("setpriv", append([]string{"--bounding-set=" + bounds},
			need...)...).CombinedOutput(); err != nil {
			t.Errorf("with %s, %q: %v\n%s", list, need, err, out)
		}
	}
	for line := range strings.Lines(string(unit)) {
		for _, filters := range []string{"SystemCall", "Restrict", "Protect", "PrivateDevices",
			"MemoryDenyWriteExecute", "LockPersonality"} {
			if strings.HasPrefix(line, filters) {
				t.Errorf("systemd makes a system call filter from %s", line)
			}
		}
	}
}
