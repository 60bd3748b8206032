package hook

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/internal/targettest"
)

const libName = "libtarget.so"

// compileLibrary compiles a build of the library with a build-id of one repeated digit, and returns
// it.
func compileLibrary(t *testing.T, digit string, flags ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), libName)
	args := append([]string{"-shared", "-fPIC", "-Wl,-soname,libtarget.so", "-Wl,--build-id=0x" +
		strings.Repeat(digit, 40), sources + "library.c"}, flags...)
	check(t, targettest.Compile(t.Context(), out, args...))
	data, err := os.ReadFile(out)
	check(t, err)
	return string(data)
}

// bootable adds to a root directory what a program that does nothing needs.
func bootable(t *testing.T, root string) {
	t.Helper()
	out, err := exec.Command("ldd", "/bin/true").CombinedOutput()
	check(t, err)
	for _, file := range append(regexp.MustCompile(`/[^ ]+`).FindAllString(string(out), -1),
		"/bin/true") {
		data, err := os.ReadFile(file)
		check(t, err)
		put(t, root, map[string]string{file: string(data)})
	}
}

// update is a transactional update: the running system has a library, and the snapshot has a newer
// one and a package with live patches for the old one.
func update(t *testing.T, coming string) (host string, r Request) {
	t.Helper()
	check(t, build())
	running, err := os.ReadFile(filepath.Join(builds.Dir, libName))
	check(t, err)
	host = tree(t, map[string]string{"lib64/" + libName: string(running), "etc/": "", "var/": ""})
	check(t, os.WriteFile(filepath.Join(host, systemConf), []byte("/usr/local/lib\n"), 0o644))
	bootable(t, host)
	root := tree(t, map[string]string{"lib64/" + libName: coming, at("1"): live(t, 10),
		at("2"): live(t, 20)})
	return host, Request{Action: MoveLibs, Package: "target-livepatches", Version: "1",
		Library: libName, Count: 1, Transactional: true,
		Root: root, Host: host, Proc: "/proc"}
}

// linkedTo returns where the dynamic linker of a root directory finds the library.
func linkedTo(t *testing.T, root string) string {
	t.Helper()
	out, err := exec.Command("/sbin/ldconfig", "-r", root, "-p").CombinedOutput()
	check(t, err)
	for line := range strings.Lines(string(out)) {
		if name, path, ok := strings.Cut(line, "=>"); ok && strings.Contains(name, libName) {
			return strings.TrimSpace(path)
		}
	}
	return ""
}

func systemConfIs(t *testing.T, host, want string) {
	t.Helper()
	conf, err := os.ReadFile(filepath.Join(host, systemConf))
	if check(t, err); string(conf) != want {
		t.Errorf("ld.so.conf is %q, want %q", conf, want)
	}
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, for ldconfig -r and chroot")
	}
}

// TestMoveLibs gives new processes of the running system the snapshot's library and, after
// removelibs, the system's again.
func TestMoveLibs(t *testing.T) {
	needsRoot(t)
	host, r := update(t, compileLibrary(t, "c"))
	plain := r
	plain.Transactional = false
	if got := lines(t, plain); got != "" || content(t, filepath.Join(host, "var")) != "" {
		t.Errorf("outside a transactional update the output is %q", got)
	}
	for range 2 { // the second time nothing changes
		if got := lines(t, r); got != "new processes get "+
			"/var/livepatches/target-livepatches/1/lib/libtarget.so" {
			t.Errorf("the output is %q", got)
		}
		systemConfIs(t, host, includeLine+"\n/usr/local/lib\n")
		if got := linkedTo(t,
			host); got != "/var/livepatches/target-livepatches/1/lib/libtarget.so" {
			t.Errorf("ld.so takes %q", got)
		}
	}
	if got := content(t, r.Root); strings.Contains(got, "var/") || strings.Contains(got, "etc/") {
		t.Errorf("the snapshot has %q", got)
	}
	// In an upgrade, the new version's library comes first, then the old package's %postun runs.
	r.Version = "2"
	lines(t, r)
	old := r
	old.Action, old.Version = RemoveLibs, "1"
	if got := lines(t, old); got != "" {
		t.Errorf("the output is %q", got)
	}
	if got := linkedTo(t, host); got != "/var/livepatches/target-livepatches/2/lib/libtarget.so" {
		t.Errorf("ld.so takes %q", got)
	}
	r.Action, r.Count = RemoveLibs, 0
	lines(t, r)
	if got := linkedTo(t, host); got != "" && !strings.HasPrefix(got, "/lib64/") {
		t.Errorf("ld.so takes %q", got)
	}
	systemConfIs(t, host, "/usr/local/lib\n")
	if got := content(t, filepath.Join(host, "var/livepatches")); got != "target-livepatches/next" {
		t.Errorf("/var/livepatches has %q", got)
	}
}

// TestMoveLibsForeign keeps others' entries in the list as long as their directories exist.
func TestMoveLibsForeign(t *testing.T) {
	needsRoot(t)
	host, r := update(t, compileLibrary(t, "c"))
	put(t, host, map[string]string{"var/livepatches/theirs/1/lib/": ""})
	conf := filepath.Join(host, linkerConf)
	check(t,
		os.WriteFile(conf,
			[]byte("/var/livepatches/theirs/1/lib\n/var/livepatches/gone/1/lib\nrelative\n"),
			0o644))
	const theirs, mine = "/var/livepatches/theirs/1/lib\n",
		"/var/livepatches/target-livepatches/1/lib\n"
	for _, want := range []string{mine + theirs, theirs} {
		lines(t, r)
		if got, err := os.ReadFile(conf); err != nil || string(got) != want {
			t.Errorf("after %s the list is %q, %v, want %q", r.Action, got, err, want)
		}
		systemConfIs(t, host, includeLine+"\n/usr/local/lib\n")
		r.Action, r.Count = RemoveLibs, 0
	}
}

// TestMoveLibsNot leaves the library alone where it does not help: it is the same, or itself needs
// live patches, or the package has nothing to do with the running one.
func TestMoveLibsNot(t *testing.T) {
	check(t, build())
	same, err := os.ReadFile(filepath.Join(builds.Dir, libName))
	check(t, err)
	for want, tc := range map[string]struct {
		coming string
		change func(host string, r *Request)
	}{
		"libtarget.so remains unchanged": {coming: string(same)},
		"the package has no live patch for the libtarget.so of the running system": {
			compileLibrary(t, "c"), func(host string, _ *Request) {
				put(t, host, map[string]string{"lib64/" + libName: compileLibrary(t, "d")})
			}},
		"the running system has one libtarget.so for each kind of processor, and its ld.so " +
			"prefers these": {compileLibrary(t, "c"),
			func(host string, _ *Request) {
				const v3 = "lib64/glibc-hwcaps/x86-64-v3/"
				put(t, host, map[string]string{v3 + libName: string(same)})
			}},
		"the new libtarget.so itself needs live patches": {string(same),
			func(host string, r *Request) {
				put(t, host, map[string]string{"lib64/" + libName: compileLibrary(t, "d")})
				put(t, r.Root, map[string]string{filepath.Dir(at("1")) +
					"/other_livepatch1.so": packFor(t, filepath.Join(host, "lib64", libName))})
			}},
		"libtarget.so is not among the libraries of the system": {compileLibrary(t, "c"),
			func(host string, _ *Request) {
				check(t, os.RemoveAll(filepath.Join(host, "lib64", libName)))
			}},
	} {
		host, r := update(t, tc.coming)
		if tc.change != nil {
			tc.change(host, &r)
		}
		o, err := Run(t.Context(), r)
		if check(t, err); o.Nothing != want || len(o.Lines()) != 0 {
			t.Errorf("%q, %q, want %q", o.Nothing, o.Lines(), want)
		}
		systemConfIs(t, host, "/usr/local/lib\n")
		if got := content(t, filepath.Join(host, "var")); got != "" {
			t.Errorf("%s: /var/livepatches has %q", want, got)
		}
	}
}

// TestMoveLibsRefuses keeps the system's library if the new one cannot replace it: no program would
// start any more.
func TestMoveLibsRefuses(t *testing.T) {
	needsRoot(t)
	good := compileLibrary(t, "c")
	for want, tc := range map[string]struct {
		coming string
		change func(host string)
	}{
		"does not export": {coming: compileLibrary(t, "c", "-fvisibility=hidden")},
		"the new library is libother": {coming: compileLibrary(t, "c",
			"-Wl,-soname,libother.so.1")},
		"/bin/true does not run": {coming: compileLibrary(t, "c",
			"-Wl,-init,nothing_of_the_kind", "-Wl,--defsym=nothing_of_the_kind=0x10")},
		"no /usr/bin/true": {good, func(host string) {
			check(t, os.RemoveAll(filepath.Join(host, "bin")))
		}},
		"users other than root can write to it": {good,
			func(host string) {
				check(t, os.Chmod(filepath.Join(host, "var/livepatches"),
					0o777))
			}},
		"a symbolic link is not followed": {good, func(host string) {
			check(t, os.Remove(filepath.Join(host, "var/livepatches")))
			check(t, os.Symlink("/tmp", filepath.Join(host, "var/livepatches")))
		}},
	} {
		host, r := update(t, tc.coming)
		put(t, host, map[string]string{"var/livepatches/": ""})
		if tc.change != nil {
			tc.change(host)
		}
		o, err := Run(t.Context(), r)
		if err == nil || !strings.Contains(strings.Join(o.Lines(), "\n"), want) {
			t.Errorf("%v, %q, want %q", err, o.Lines(), want)
		}
		systemConfIs(t, host, "/usr/local/lib\n")
		if got := content(t, filepath.Join(host, "var")); strings.Contains(got, libName) {
			t.Errorf("%s: /var/livepatches has %q", want, got)
		}
	}
}
