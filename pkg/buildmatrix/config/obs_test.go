package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConfigOBS(t *testing.T) {
	dir := packageDir(t)
	write(t, filepath.Join(dir, FileName), validConfig+"obs:\n  flavor-builds: 10\n  "+
		"release-project: SUSE:SLE-15-SP5:Update\n  incident-project: SUSE:Maintenance\n")
	c, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(OBS{10, "SUSE:SLE-15-SP5:Update", "SUSE:Maintenance"}, c.OBS); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for text, want := range map[string]string{
		"flavor-builds: 0":                "a number of builds, 1 or more",
		"flavor-builds: many":             "a number of builds, 1 or more",
		"flavor-builds: [1]":              "a number of builds, 1 or more",
		"flavors: 3":                      `unknown key "flavors"`,
		"release-project: -A evil":        "is no name of a project",
		"release-project: 'a b'":          "is no name of a project",
		"incident-project: Vendor/Update": "is no name of a project",
	} {
		write(t, filepath.Join(dir, FileName), validConfig+"obs:\n  "+text+"\n")
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want %q", text, err, want)
		}
	}
}
