package distro

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// TestCanSignV3 excuses a missing gpg1 only where no package has it.
func TestCanSignV3(t *testing.T) {
	_, debian := os.Stat(debianVersion)
	t.Setenv("PATH", t.TempDir())
	if err := CanSignV3(); (debian == nil) != (err == nil) ||
		err != nil && !errors.Is(err, ErrNoGPG1) {
		t.Errorf("without gpg1 (Debian: %t): %v", debian == nil, err)
	}
}

// TestMissingTool names the package to install, for both families of distributions.
func TestMissingTool(t *testing.T) {
	for tool, want := range map[string]string{
		"rpmsign": "package rpm, SUSE in rpm-build)", "gpg": "package gnupg, SUSE in gpg2)",
		"gpg1":         "package gnupg1, SUSE does not have it)",
		"createrepo_c": "package createrepo-c, SUSE in createrepo_c)",
		"cpio":         "package cpio, SUSE in cpio)",
		"powerpc64le-linux-gnu-gcc": "package gcc-powerpc64le-linux-gnu, SUSE in " +
			"cross-ppc64le-gcc14)",
	} {
		if err := missing(tool, errors.New("no "+tool)); !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestCrossGCC finds a cross compiler by either distribution's name for it.
func TestCrossGCC(t *testing.T) {
	for _, name := range []string{"powerpc64le-linux-gnu-gcc", "powerpc64le-suse-linux-gcc",
		"powerpc64le-suse-linux-gcc-14"} {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/"+name, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir)
		if got := targets["ppc64le"].crossGCC(); got != name {
			t.Errorf("with %s alone: %s", name, got)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if got := targets["ppc64le"].crossGCC(); got != "powerpc64le-linux-gnu-gcc" {
		t.Errorf("without any: %s", got)
	}
}
