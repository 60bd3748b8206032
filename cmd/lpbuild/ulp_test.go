package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestArguments(t *testing.T) {
	for _, tc := range []struct{ argv, want []string }{
		{nil, nil},
		{[]string{"/usr/bin/lpbuild", "build"}, []string{"build"}},
		{[]string{"/usr/bin/ulp", "dump", "x.so"}, []string{"ulp", "dump", "x.so"}},
		{[]string{"ulp"}, []string{"ulp"}},
		{[]string{"./ulp-0.3", "dump"}, []string{"dump"}},
	} {
		if d := cmp.Diff(tc.want, arguments(tc.argv)); d != "" {
			t.Errorf("%q (-want +got):\n%s", tc.argv, d)
		}
	}
}

func TestUlpCommandFirst(t *testing.T) {
	root := newRoot(&console{out: &bytes.Buffer{}, err: &bytes.Buffer{}})
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
		got := ulpCommandFirst(root, strings.Fields(in))
		if d := cmp.Diff(strings.Fields(want), got); d != "" {
			t.Errorf("%q (-want +got):\n%s", in, d)
		}
	}
}

func TestReportUlp(t *testing.T) {
	plain, usage := errors.New("plain\x1b"), &usageError{errors.New("usage"), "lpbuild ulp dump"}
	for name, tc := range map[string]struct {
		err    error
		quiet  bool
		json   bool
		code   int
		stderr string
	}{
		"nothing":          {nil, false, false, 0, ""},
		"error":            {plain, false, false, 1, "ulp: plain\\x1b\n"},
		"error, -q":        {plain, true, false, 1, "ulp: plain\\x1b\n"},
		"said already":     {errReported{plain}, false, false, 1, ""},
		"quiet error":      {quietError{plain}, false, false, 1, "ulp: plain\\x1b\n"},
		"quiet error, -q":  {quietError{plain}, true, false, 1, ""},
		"usage, -q":        {usage, true, false, 64, "ulp: usage\nTry 'lpbuild ulp dump --help' for more information.\n"},
		"JSON":             {usage, false, true, 64, "{\"error\":\"usage\"}\n"},
		"JSON, -q, silent": {quietError{plain}, true, true, 1, ""},
	} {
		var out, stderr bytes.Buffer
		s := &console{out: &out, err: &stderr, quiet: tc.quiet, json: tc.json}
		if code := s.reportUlp(tc.err); code != tc.code || stderr.String() != tc.stderr || out.Len() > 0 {
			t.Errorf("%s: exit code %d, %q", name, code, stderr.String())
		}
	}
}
