package spec

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// flavored is query for a spec file as the build service passes it to a worker; with
// "@BUILD_FLAVOR@", for the unchanged file.
func flavored(t *testing.T, p Package, flavor, format string) string {
	t.Helper()
	text, err := p.Render()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "x.spec")
	if err := os.WriteFile(name, []byte(strings.ReplaceAll(string(text), "@BUILD_FLAVOR@", flavor)),
		0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "rpmspec", "-q", "--target=x86_64", "--qf", format,
		name).CombinedOutput()
	if err != nil {
		t.Fatalf("rpmspec: %v: %s", err, out)
	}
	return string(out)
}

// TestFlavors expects the package itself to have the scripts and to require every group, a group to
// have neither, and plain rpmbuild to make one package of everything.
func TestFlavors(t *testing.T) {
	p := somePackage()
	p.Groups = 3
	const format = "%{NAME}|[%{REQUIRENAME}=%{REQUIREVERSION} ]|[%{SUPPLEMENTS} ]|%{POSTIN}"
	for flavor, want := range map[string]struct{ name, requires, group string }{
		"@BUILD_FLAVOR@": {"glibc-livepatches", "lpbuild", ""},
		"":               {"glibc-livepatches", "glibc-livepatches-group1of3=0.4", ""},
		"group2of3":      {"glibc-livepatches-group2of3", "", "2/3"},
	} {
		got := strings.SplitN(flavored(t, p, flavor, format), "|", 4)
		if got[0] != want.name || !strings.Contains(got[1], want.requires) {
			t.Errorf("flavor %q: %q", flavor, got)
		}
		if isGroup := want.group != ""; isGroup != (got[3] == "(none)") ||
			isGroup != (got[2] == "") || isGroup == strings.Contains(got[1], "lpbuild") {
			t.Errorf("flavor %q has wrong scripts or relations: %q", flavor, got)
		}
		if flavor == "@BUILD_FLAVOR@" && strings.Contains(got[1], "group") {
			t.Errorf("as a whole it requires %s", got[1])
		}
	}
	if names := Flavors(3); len(names) != 3 || names[2].Name() != "group3of3" ||
		names[2].Group() != "3/3" {
		t.Errorf("the flavors are %v", names)
	}
	if Flavors(1) != nil || Flavors(0) != nil {
		t.Error("a package in one part has flavors")
	}
}
