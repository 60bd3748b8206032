// Package packaging has lpbuild's own RPM. Its only Go code is this test.
package packaging

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// command runs a program and returns its output.
func command(t *testing.T, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// offline returns a command that runs without a network, if the machine permits that.
func offline(args ...string) []string {
	for _, unshare := range [][]string{{"unshare", "--net"},
		{"unshare", "--map-root-user", "--net"}} {
		if exec.Command(unshare[0], append(unshare[1:], "true")...).Run() == nil {
			return append(unshare, args...)
		}
	}
	return args
}

// asRoot returns a command that runs as root with respect to its own files.
func asRoot(args ...string) []string {
	if os.Geteuid() != 0 {
		return append([]string{"unshare", "--map-root-user", "--mount"}, args...)
	}
	return args
}

// byName returns the binary packages that match a pattern.
func byName(t *testing.T, pattern string) map[string]string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	packages := map[string]string{}
	for _, file := range found {
		if !strings.HasSuffix(file, ".src.rpm") {
			packages[command(t, nil, "rpm", "-qp", "--qf", "%{NAME}", file)] = file
		}
	}
	return packages
}

// rebuild unpacks a source package, lets it write its sources again, as another user might, and
// builds those without a network.
func rebuild(t *testing.T, source, dir string) map[string]string {
	t.Helper()
	command(t, nil, "sh", "-ec",
		`mkdir -p "$2/former" "$2/tree"; cd "$2/former"; rpm2cpio "$1" | cpio -id --quiet
		tar -xf lpbuild-*.tar.xz --strip-components=1 -C ../tree`, "sh", source, dir)
	command(t, []string{"TZ=Asia/Kathmandu", "LC_ALL=C.UTF-8"}, "sh", "-c",
		`umask 077; exec "$1/tree/packaging/sources" "$1/sources"`, "sh", dir)
	command(t, nil, "diff", "-r", dir+"/former", dir+"/sources")
	env := []string{"GOCACHE=" + strings.TrimSpace(command(t, nil, "go", "env", "GOCACHE"))}
	command(t, env, offline("rpmbuild", "-bb", "--nodeps", "--define", "_topdir "+dir+"/rpm",
		"--define", "_sourcedir "+dir+"/sources",
		dir+"/sources/lpbuild.spec")...)
	return byName(t, dir+"/rpm/RPMS/*/*.rpm")
}

// TestPackage makes lpbuild's RPMs as "make package" does, installs them and checks the result.
func TestPackage(t *testing.T) {
	dir := t.TempDir()
	command(t, nil, "./build", dir+"/one")
	packages := byName(t, dir+"/one/*.rpm")
	t.Run("reproducible", func(t *testing.T) {
		sources, err := filepath.Glob(dir + "/one/*.src.rpm")
		if err != nil || len(sources) != 1 {
			t.Fatal(sources, err)
		}
		testReproducible(t, packages, rebuild(t, sources[0], dir+"/and/two"))
	})
	t.Run("rpmlint", func(t *testing.T) { testRpmlint(t, dir+"/one") })
	t.Run("relations", func(t *testing.T) { testRelations(t, packages) })
	root := dir + "/root"
	for _, name := range []string{"lpbuild", "lpbuild-engine", "lpbuild-ulp",
		"lpbuild-bash-completion", "lpbuild-zsh-completion", "lpbuild-fish-completion"} {
		command(t, nil, asRoot("rpm", "--root", root, "--nodeps", "-U", packages[name])...)
	}
	t.Run("files", func(t *testing.T) { testFiles(t, root) })
	t.Run("program", func(t *testing.T) { testProgram(t, root) })
	t.Run("manuals", func(t *testing.T) { testManuals(t, root) })
}

// testReproducible expects the same payload and the same file metadata from another directory at
// another time.
func testReproducible(t *testing.T, one, two map[string]string) {
	if len(one) != 6 || len(two) != 6 {
		t.Fatalf("%d and %d packages", len(one), len(two))
	}
	for name, file := range one {
		for _, query := range [][]string{{"--qf", "%{PAYLOADDIGEST}"}, {"--dump"}} {
			args := append([]string{"rpm", "-qp"}, query...)
			if d := cmp.Diff(command(t, nil, append(args, file)...),
				command(t, nil, append(args, two[name])...)); d != "" {
				t.Errorf("%s, %s:\n%s", name, query, d)
			}
		}
	}
}

func testRpmlint(t *testing.T, top string) {
	files, err := filepath.Glob(top + "/*.rpm")
	if err != nil {
		t.Fatal(err)
	}
	out := command(t, nil, append([]string{"rpmlint", "-c", "rpmlint.toml", "-r",
		"lpbuild-rpmlintrc"}, files...)...)
	if !strings.Contains(out, fmt.Sprintf("%d packages and 0 specfiles checked; 0 errors, 0 "+
		"warnings", len(files))) {
		t.Errorf("rpmlint:\n%s", out)
	}
}

// testRelations expects a program without dependencies, and only one package with the command ulp.
func testRelations(t *testing.T, packages map[string]string) {
	if got := command(t, nil, "rpm", "-qp", "--conflicts",
		packages["lpbuild-ulp"]); got != "libpulp-tools\n" {
		t.Errorf("lpbuild-ulp conflicts with %q", got)
	}
	if got := command(t, nil, "rpm", "-qp", "--conflicts", packages["lpbuild"]); got != "" {
		t.Errorf("lpbuild conflicts with %q", got)
	}
	if got := command(t, nil, "rpm", "-qp", "--requires",
		packages["lpbuild-ulp"]); !strings.HasPrefix(got, "lpbuild = ") {
		t.Errorf("lpbuild-ulp requires %q", got)
	}
	files := "\n" + command(t, nil, "rpm", "-qpl", packages["lpbuild"], packages["lpbuild-engine"])
	// of libpulp-tools, and of the tools that apply live patches to the kernel
	for _, theirs := range []string{
		"/usr/bin/ulp", "/usr/lib/userspace-livepatch/rpm-helper",
		"/usr/lib/rpm/macros.d/macros.userspace-livepatch", "/usr/share/man/man1/ulp.1.gz",
		"/usr/share/fillup-templates/sysconfig.livepatching", "/etc/sysconfig/livepatching",
	} {
		if strings.Contains(files, "\n"+theirs+"\n") {
			t.Errorf("lpbuild has %s, which belongs to another package", theirs)
		}
	}
	for name, needs := range map[string]string{"lpbuild": "lpbuild-engine = ",
		"lpbuild-engine": "/bin/sh"} {
		for line := range strings.Lines(command(t, nil, "rpm", "-qp", "--requires",
			packages[name])) {
			if !strings.HasPrefix(line, "rpmlib(") && !strings.HasPrefix(line, needs) {
				t.Errorf("%s requires %s", name, line)
			}
		}
	}
}

// testFiles compares the installed files with a list; testManuals checks the man pages.
func testFiles(t *testing.T, root string) {
	var got []string
	for name := range strings.FieldsSeq(command(t, nil, "rpm", "--root", root, "-qa", "--qf",
		"[%{FILEMODES:perms} %{FILENAMES}\n]")) {
		if !strings.HasPrefix(name, "/") {
			got = append(got, name)
		} else if got[len(got)-1] += " " + name; strings.HasPrefix(name, "/usr/share/man/") ||
			strings.HasPrefix(name, "/usr/share/licenses/") {
			got = got[:len(got)-1]
		}
	}
	slices.Sort(got)
	want, err := os.ReadFile("testdata/files")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), strings.Join(got, "\n")+"\n"); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
}

// testProgram runs the installed program where there is nothing else: no shared library, no shell,
// no /proc.
func testProgram(t *testing.T, root string) {
	version := command(t, nil, "sed", "-n", "s/^Version: *//p", "lpbuild.spec")
	commit, err := exec.CommandContext(t.Context(), "git", "-c", "safe.directory=*", "rev-parse",
		"--short=12", "HEAD").Output()
	want := "lpbuild " + strings.TrimSpace(version) + " (commit " +
		strings.TrimSpace(string(commit))
	inside := func(args ...string) string {
		return command(t, nil, asRoot(append([]string{"chroot", root}, args...)...)...)
	}
	if got := inside("/usr/bin/lpbuild", "version"); err == nil && !strings.HasPrefix(got, want) {
		t.Errorf("the version is %q, want %q", got, want)
	}
	if got := inside("/usr/bin/lpbuild-engine", "version"); err == nil && !strings.HasPrefix(got,
		strings.Replace(want, "lpbuild", "lpbuild-engine", 1)) {
		t.Errorf("version of lpbuild-engine is %q, want that of lpbuild, %q", got, want)
	}
	if got := inside("/usr/bin/ulp", "--help"); !strings.Contains(got, "livepatchable") {
		t.Errorf("ulp --help prints %q", got)
	}
	macros := root + "/usr/lib/rpm/macros.d/macros.userspace-livepatch-lpbuild"
	if got := command(t, nil, "rpm", "--load", macros, "--eval", "%ulp_post_hook a 1 "+
		"b"); !strings.Contains(got, "/usr/lib/lpbuild/rpm-helper install a 1 b") {
		t.Errorf("%%ulp_post_hook is %q", got)
	}
	for _, name := range []string{"lpbuild", "lpbuild-engine"} {
		command(t, nil, "bash", "-n", root+"/usr/share/bash-completion/completions/"+name)
	}
}

// testManuals reads the installed pages, that of ulp through its reference.
func testManuals(t *testing.T, root string) {
	for page, want := range map[string]string{
		"lpbuild": "lpbuild-download(1)", "lpbuild-build": "EXIT STATUS",
		"lpbuild-changes-add": "EXAMPLES", "ulp": "lpbuild-ulp-packer(1)",
		"lpbuild-engine-hook-reconcile": "lpbuild-engine hook reconcile", // the units refer to it
		"lpbuild.yaml":                  "repositories[].url",
	} {
		out := command(t, nil, "sh", "-c",
			`cd "$1" && mandoc -T ascii man?/"$2".?.gz | sed 's/.\x08//g'`, "sh", root+
				"/usr/share/man", page)
		if !strings.Contains(out, want) {
			t.Errorf("the page %s lacks %q:\n%s", page, want, out)
		}
	}
}
