package packaging

import (
	"strings"
	"testing"
)

// TestSUSE reads the spec file with macros like SUSE's: the settings go into a file shared with
// other packages, and the units are registered. Without those macros it contains none of that, but
// still starts the timer.
func TestSUSE(t *testing.T) {
	const format = "[%{REQUIRENAME} ]|%{PREIN}|%{POSTIN}|%{PREUN}|%{POSTUN}"
	spec := func(args ...string) string {
		t.Helper()
		all := append([]string{"rpmspec", "-q", "--target=x86_64", "--qf", format + "\n@",
			"lpbuild.spec"}, args...)
		// lpbuild-engine; no other package has scripts
		return strings.Split(command(t, nil, all...), "@")[1]
	}
	var macros []string
	for _, m := range []string{
		"fillup_prereq fillup", "fillup_only(dans) FILLUP %{**}", "service_add_pre() ADDPRE %{*}",
		"service_add_post() ADDPOST %{*}",
		"service_del_preun() DELPREUN %{*}", "service_del_postun() DELPOSTUN %{*}",
	} {
		macros = append(macros, "--define", m)
	}
	if got := command(t, nil, "rpmspec", "-q", "--srpm", "--qf", "[%{REQUIRENAME} ]",
		"lpbuild.spec", "--define", "suse_version 1600"); !strings.Contains(got,
		"systemd-rpm-macros ") {
		t.Errorf("its build requirements are %q", got)
	}
	const units = " lpbuild-reconcile.service lpbuild-reconcile.timer"
	got := spec(macros...)
	for _, want := range []string{"fillup ", "|ADDPRE" + units, "FILLUP -ns livepatching " +
		"lpbuild\nADDPOST" + units, "|DELPREUN" + units, "|DELPOSTUN" + units} {
		if !strings.Contains(got, want) {
			t.Errorf("with SUSE's macros the scripts lack %q:\n%s", want, got)
		}
	}
	plain := spec()
	for _, s := range []string{got, plain} {
		if !strings.Contains(s, "systemctl --no-block start lpbuild-reconcile.timer || :") ||
			!strings.Contains(s, "systemctl --no-block stop lpbuild-reconcile.timer || :") {
			t.Errorf("the timer is not started and stopped:\n%s", s)
		}
	}
	for _, not := range []string{"fillup", "FILLUP", "%", "service_"} {
		if strings.Contains(plain, not) {
			t.Errorf("without SUSE's macros the scripts contain %q:\n%s", not, plain)
		}
	}
}
