package hook

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// compileLibrary makes a build of a library with a build-id of one digit, and returns it.
func compileLibrary(t *testing.T, digit, source string, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, map[string]string{"l.c": source})
	out := filepath.Join(dir, "libtoy.so.1")
	args := append([]string{"-shared", "-fPIC", "-Wl,-soname,libtoy.so.1", "-Wl,--build-id=0x" + strings.Repeat(digit, 40), "-o", out, filepath.Join(dir, "l.c")}, flags...)
	if text, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	data, err := os.ReadFile(out)
	check(t, err)
	return string(data)
}

// toySystem has a library, and a package with a patched one for it.
func toySystem(t *testing.T, patched string) (string, Request) {
	t.Helper()
	root := tree(t, map[string]string{
		"lib64/libtoy.so.1": compileLibrary(t, "a", "int f(void) { return 1; }"),
		"usr/lib64/toy/1/lib/" + strings.Repeat("a", 40) + "/libtoy.so.1": patched,
		"usr/lib64/toy/1/lib/" + strings.Repeat("b", 40) + "/libtoy.so.1": "of another build",
		"etc/ld.so.conf": "/usr/local/lib\n", "var/": "",
	})
	check(t, os.Chmod(filepath.Join(root, "etc/ld.so.conf"), 0o644))
	return root, Request{Action: MoveLibs, Package: "toy", Version: "1", Library: "libtoy.so.1", Count: 1, Transactional: true, Root: root, Proc: "/proc"}
}

// linked returns where the dynamic linker of a root folder finds the library.
func linkedTo(t *testing.T, root string) string {
	t.Helper()
	out, err := exec.Command("/sbin/ldconfig", "-r", root, "-p").CombinedOutput()
	check(t, err)
	for line := range strings.Lines(string(out)) {
		if name, path, ok := strings.Cut(line, "=>"); ok && strings.Contains(name, "libtoy.so.1") {
			return strings.TrimSpace(path)
		}
	}
	return ""
}

// TestMoveLibs gives new processes the patched library, and with removelibs the system's again.
func TestMoveLibs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, for ldconfig -r")
	}
	root, r := toySystem(t, compileLibrary(t, "c", "int f(void) { return 2; } int g(void) { return 3; }"))
	plain := r
	plain.Transactional = false
	if got := lines(t, plain); got != "" || content(t, filepath.Join(root, "var")) != "" {
		t.Errorf("outside of a transactional update it prints %q", got)
	}
	for range 2 { // the second time nothing changes
		if got := lines(t, r); got != "/var/livepatches/toy/1/lib/libtoy.so.1 is what new processes get" {
			t.Errorf("it prints %q", got)
		}
		conf, err := os.ReadFile(filepath.Join(root, systemConf))
		if check(t, err); string(conf) != includeLine+"\n/usr/local/lib\n" {
			t.Errorf("ld.so.conf is %q", conf)
		}
		if got := linkedTo(t, root); got != "/var/livepatches/toy/1/lib/libtoy.so.1" {
			t.Errorf("ld.so takes %q", got)
		}
	}
	// An upgrade: the new version's comes, then the old package's %postun runs.
	check(t, os.Rename(filepath.Join(root, "usr/lib64/toy/1"), filepath.Join(root, "usr/lib64/toy/2")))
	r.Version = "2"
	lines(t, r)
	old := r
	old.Action, old.Version = RemoveLibs, "1"
	if got := lines(t, old); got != "" {
		t.Errorf("it prints %q", got)
	}
	if got := linkedTo(t, root); got != "/var/livepatches/toy/2/lib/libtoy.so.1" {
		t.Errorf("ld.so takes %q", got)
	}
	r.Action, r.Count = RemoveLibs, 0
	lines(t, r)
	if got := linkedTo(t, root); got != "" && !strings.HasPrefix(got, "/lib64/") {
		t.Errorf("ld.so takes %q", got)
	}
	conf, err := os.ReadFile(filepath.Join(root, systemConf))
	if check(t, err); string(conf) != "/usr/local/lib\n" || content(t, filepath.Join(root, "var/livepatches")) != "" {
		t.Errorf("ld.so.conf is %q, /var/livepatches has %q", conf, content(t, filepath.Join(root, "var/livepatches")))
	}
}

// TestMoveLibsRefuses keeps the system's library if another one cannot stand in for it: no program would start any more.
func TestMoveLibsRefuses(t *testing.T) {
	good := compileLibrary(t, "c", "int f(void) { return 2; }")
	for want, tc := range map[string]struct {
		patched string
		change  func(root string)
	}{
		"does not export f@":          {patched: compileLibrary(t, "c", "int g(void) { return 2; }")},
		"the system's is libtoy.so.1": {patched: compileLibrary(t, "c", "int f(void) { return 2; }", "-Wl,-soname,libother.so.1")},
		"neither ELF nor a catalogue": {patched: "#!/bin/sh\ntouch /owned\n"},
		"is not among the libraries":  {good, func(root string) { check(t, os.RemoveAll(filepath.Join(root, "lib64"))) }},
		"others than root can write it": {good, func(root string) {
			check(t, os.Chmod(filepath.Join(root, "usr/lib64/toy/1/lib"), 0o777))
		}},
		"a symbolic link is not followed": {good, func(root string) {
			check(t, os.Symlink("/tmp", filepath.Join(root, "var/livepatches")))
		}},
	} {
		root, r := toySystem(t, tc.patched)
		if tc.change != nil {
			tc.change(root)
		}
		o, err := Run(t.Context(), r)
		if err == nil || !strings.Contains(strings.Join(o.Lines(), "\n"), want) {
			t.Errorf("%v, %q, want %q", err, o.Lines(), want)
		}
		conf, rerr := os.ReadFile(filepath.Join(root, systemConf))
		if check(t, rerr); string(conf) != "/usr/local/lib\n" {
			t.Errorf("%s: ld.so.conf is %q", want, conf)
		}
	}
	root, r := toySystem(t, good)
	check(t, os.Rename(filepath.Join(root, "usr/lib64/toy/1/lib/"+strings.Repeat("a", 40)), filepath.Join(root, "gone")))
	if got := lines(t, r); got != "" {
		t.Errorf("without a library for the build it prints %q", got)
	}
}
