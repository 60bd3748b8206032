package ulpcli

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lpbuild/lpbuild/internal/console"
)

func TestArguments(t *testing.T) {
	for _, tc := range []struct{ argv, want []string }{
		{nil, nil},
		{[]string{"/usr/bin/lpbuild", "build"}, []string{"build"}},
		{[]string{"/usr/bin/ulp", "dump", "x.so"}, []string{"ulp", "dump", "x.so"}},
		{[]string{"ulp"}, []string{"ulp"}},
		{[]string{"./ulp-0.3", "dump"}, []string{"dump"}},
	} {
		if d := cmp.Diff(tc.want, Arguments(tc.argv)); d != "" {
			t.Errorf("%q (-want +got):\n%s", tc.argv, d)
		}
	}
}

func TestReportUlp(t *testing.T) {
	plain, usage := errors.New("plain\x1b"), console.Usage(errors.New("usage"), "lpbuild ulp dump")
	for name, tc := range map[string]struct {
		err    error
		quiet  bool
		json   bool
		code   int
		stderr string
	}{
		"nothing":         {nil, false, false, 0, ""},
		"error":           {plain, false, false, 1, "ulp: plain\\x1b\n"},
		"error, -q":       {plain, true, false, 1, "ulp: plain\\x1b\n"},
		"said already":    {console.Reported(plain), false, false, 1, ""},
		"quiet error":     {quietError{plain}, false, false, 1, "ulp: plain\\x1b\n"},
		"quiet error, -q": {quietError{plain}, true, false, 1, ""},
		"usage, -q": {usage, true, false, 64,
			"ulp: usage\nTry 'lpbuild ulp dump --help' for more information.\n"},
		"JSON":             {usage, false, true, 64, "{\"error\":\"usage\"}\n"},
		"JSON, -q, silent": {quietError{plain}, true, true, 1, ""},
	} {
		var out, stderr bytes.Buffer
		s := &console.Console{Out: &out, Err: &stderr, Quiet: tc.quiet, JSON: tc.json}
		if code := Report(s, tc.err); code != tc.code || stderr.String() != tc.stderr ||
			out.Len() > 0 {
			t.Errorf("%s: exit code %d, %q", name, code, stderr.String())
		}
	}
}
