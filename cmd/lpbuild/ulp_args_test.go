package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lpbuild/lpbuild/internal/ulpcli"
)

func TestUlpCommandFirst(t *testing.T) {
	root := newRoot(rootForTest())
	for in, want := range map[string]string{
		"":                                 "",
		"build --arch ulp":                 "build --arch ulp",
		"-C ulp build":                     "-C ulp build",
		"ulp":                              "ulp",
		"ulp -q":                           "ulp -q",
		"ulp dump x":                       "ulp dump x",
		"ulp -o out packer x":              "ulp packer -o out x",
		"ulp -oout -q packer x -l y":       "ulp packer -oout -q x -l y",
		"ulp -qo out packer x":             "ulp packer -qo out x",
		"ulp --output out packer x":        "ulp packer --output out x",
		"ulp --output=out packer x":        "ulp packer --output=out x",
		"ulp --revert -b dump x":           "ulp dump --revert -b x",
		"ulp -t dump packer x":             "ulp packer -t dump x",
		"ulp --nonsense dump x":            "ulp dump --nonsense x",
		"ulp -o":                           "ulp -o",
		"ulp -- dump":                      "ulp -- dump",
		"-C dir -q ulp -l a.so packer x":   "-C dir -q ulp packer -l a.so x",
		"--dir=dir ulp --with-debuginfo d": "--dir=dir ulp --with-debuginfo d",
	} {
		got := ulpcli.CommandFirst(root, strings.Fields(in))
		if d := cmp.Diff(strings.Fields(want), got); d != "" {
			t.Errorf("%q (-want +got):\n%s", in, d)
		}
	}
}
