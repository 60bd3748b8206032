package spec

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// product is a distribution, described by its macros.
type product struct {
	defines []string
	arches  string // products that have live patches
	moves   bool   // patched libraries are moved, from 16 on
	libexec string
}

var products = map[string]product{
	"SLE 15-SP4": {[]string{"suse_version 1500", "sle_version 150400", "_libexecdir " +
		"/usr/lib"}, "x86_64", false, "/usr/lib"},
	"SLE 15-SP6": {[]string{"suse_version 1500", "sle_version 150600", "_libexecdir " +
		"/usr/lib"}, "x86_64", false, "/usr/lib"},
	"SLE 15-SP7": {[]string{"suse_version 1500", "sle_version 150700", "_libexecdir " +
		"/usr/lib"}, "x86_64 ppc64le", false, "/usr/lib"},
	"Leap 15.6": {[]string{"suse_version 1500", "sle_version 150600", "is_opensuse 1",
		"_libexecdir /usr/lib"}, "x86_64", false, "/usr/lib"},
	"SLE 16": {[]string{"suse_version 1600", "is_opensuse 0", "_libexecdir /usr/libexec"},
		"x86_64 ppc64le", true, "/usr/libexec"},
	"SLE 16, as of 15": {[]string{"suse_version 1600", "sle_version 160000", "_libexecdir " +
		"/usr/libexec"}, "x86_64 ppc64le", true, "/usr/libexec"},
	"Leap 16": {[]string{"suse_version 1600", "is_opensuse 1", "_libexecdir /usr/libexec"},
		"x86_64 ppc64le", true, "/usr/libexec"},
	"Tumbleweed": {[]string{"suse_version 1699", "is_opensuse 1", "_libexecdir /usr/libexec"},
		"x86_64 ppc64le", true, "/usr/libexec"},
	"not SUSE": {[]string{"_libexecdir /usr/libexec"}, "x86_64 ppc64le", false,
		"/usr/libexec"},
}

// args returns rpmspec's arguments for a product, with lpbuild's macros.
func (p product) args(more ...string) []string {
	args := append([]string{"--load", "../../rpm-helper/macros.userspace-livepatch"}, more...)
	for _, d := range p.defines {
		args = append(args, "--define", d)
	}
	return args
}

// TestProducts reads the spec file as each product does, for both engines, and checks
// architectures, scripts, dependencies and paths.
func TestProducts(t *testing.T) {
	for name, product := range products {
		for engine, bundled := range map[string]bool{"system": false, "bundled": true} {
			t.Run(name+", "+engine, func(t *testing.T) {
				t.Parallel()
				p := somePackage()
				p.Bundled = bundled
				if got := query(t, p, "[%{EXCLUSIVEARCH} ]",
					product.args("--srpm")...); strings.TrimSpace(got) != product.arches {
					t.Errorf("it is for %q", got)
				}
				needs := query(t, p, "[%{REQUIRENAME} ]", product.args("--srpm")...)
				if got := strings.Contains(needs, "systemd-rpm-macros "); got != (bundled &&
					strings.HasPrefix(product.defines[0], "suse_version")) {
					t.Errorf("it needs %q to be built", needs)
				}
				got := strings.Split(query(t, p,
					"%{POSTIN}@%{PREUN}@%{POSTUN}@[%{REQUIREFLAGS:deptype} "+
						"%{REQUIRENAME};]@[%{FILENAMES} ]@[%{SUPPLEMENTS}]",
					product.args("--target=x86_64")...), "@")
				helper := "/usr/lib/lpbuild/rpm-helper "
				if bundled {
					helper = product.libexec + "/glibc-livepatches/lpbuild-engine hook "
				}
				testScript(t, "%post", got[0], helper+"install ", true)
				testScript(t, "%post", got[0], helper+"movelibs ", product.moves)
				testScript(t, "%preun", got[1], helper+"remove ", true)
				testScript(t, "%preun", got[1], helper+"removelibs ", bundled)
				testScript(t, "%postun", got[2], helper+"removelibs ", product.moves && !bundled)
				for _, dependency := range []string{"manual lpbuild-engine;",
					"post lpbuild-engine;", "preun lpbuild-engine;", "postun lpbuild-engine;"} {
					if strings.Contains(got[3], dependency) == bundled {
						t.Errorf("it requires %q", got[3])
					}
				}
				if !strings.HasPrefix(got[5], "(glibc and ") {
					t.Errorf("it supplements %q", got[5])
				}
			})
		}
	}
}

func testScript(t *testing.T, script, text, has string, want bool) {
	t.Helper()
	if strings.Contains(text, has) != want {
		t.Errorf("%s has %q: %v:\n%s", script, has, !want, text)
	}
}

// TestParsed has rpmspec expand the whole file for each product and architecture: no macro remains,
// and commands are for that architecture.
func TestParsed(t *testing.T) {
	macro := regexp.MustCompile(`(?m)^[^#\n]*%[{?!(]`)
	for name, product := range products {
		for arch := range strings.FieldsSeq(product.arches) {
			t.Run(name+", "+arch, func(t *testing.T) {
				t.Parallel()
				text, err := somePackage().Render()
				if err != nil {
					t.Fatal(err)
				}
				file := filepath.Join(t.TempDir(), "x.spec")
				if err := os.WriteFile(file, text, 0o644); err != nil {
					t.Fatal(err)
				}
				out, err := exec.CommandContext(t.Context(), "rpmspec",
					product.args("-P", "--target="+arch, file)...).CombinedOutput()
				if err != nil {
					t.Fatalf("rpmspec: %v: %s", err, out)
				}
				if left := macro.FindAllString(string(out), -1); left != nil {
					t.Errorf("%q remains unexpanded", left)
				}
				for _, want := range []string{
					"\nlpbuild build --offline --arch " + arch + "\n",
					"\nlpbuild build --check --offline --arch " + arch + "\n",
					"\nlpbuild install --arch " + arch + " --root /",
					"\n%dir /usr/lib64/glibc-livepatches/0.4\n",
				} {
					if !strings.Contains(string(out), want) {
						t.Errorf("it has no %q:\n%s", want, out)
					}
				}
			})
		}
	}
}

// TestUnits checks that systemd's macros, if installed, get the units of a package with an engine,
// and none of other packages.
func TestUnits(t *testing.T) {
	var args []string
	for _, name := range []string{"add_pre", "add_post", "del_preun", "del_postun"} {
		args = append(args, "--define", "service_"+name+"() "+name+" %{*}")
	}
	for engine, bundled := range map[string]bool{"system": false, "bundled": true} {
		p := somePackage()
		p.Bundled = bundled
		got := strings.Split(query(t, p, "%{PREIN}@%{POSTIN}@%{PREUN}@%{POSTUN}",
			append(args, "--target=x86_64")...), "@")
		for i, name := range []string{"add_pre", "add_post", "del_preun", "del_postun"} {
			testScript(t, engine, got[i], name+" glibc-livepatches-reconcile.service "+
				"glibc-livepatches-reconcile.timer", bundled)
		}
	}
}
