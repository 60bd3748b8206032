package repofile_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/download/repofile"
)

func TestExpand(t *testing.T) {
	vars := map[string]string{"releasever": "15.5", "arch": "x86_64", "empty": "", "a_b": "$arch",
		"mirror": "https://h"}
	tests := map[string]string{
		"https://h/$releasever/$arch/": "https://h/15.5/x86_64/",
		"https://h/${releasever}00":    "https://h/15.500",
		"https://h/${none:-def}":       "https://h/def",
		"https://h/${empty:-def}":      "https://h/def",
		"https://h/${arch:-def}":       "https://h/x86_64",
		"https://h/${arch:+set}":       "https://h/set",
		"https://h/${none:+set}":       "https://h/",
		"https://h/$empty/":            "https://h//",
		"https://h/$a_b":               "https://h/$arch",
		"https://h/$/$-/${}/${x y}/${": "https://h/$/$-/${}/${x y}/${",
		"https://h/?t$arch":            "https://h/?tx86_64",
		"$mirror/x":                    "https://h/x",
	}
	for raw, want := range tests {
		before := repofile.Repo{Alias: "a", Name: "n $arch", Enabled: true, BaseURL: raw,
			BaseURLs: []string{raw}, GPGKeys: []string{"/keys/$arch"}}
		got, err := before.Expand(vars)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		have := []string{got.BaseURL, got.BaseURLs[0], got.GPGKeys[0], got.Name, before.BaseURLs[0]}
		if d := cmp.Diff([]string{want, want, "/keys/x86_64", "n x86_64", raw}, have); d != "" {
			t.Errorf("%s (-want +got):\n%s", raw, d)
		}
	}
}

func TestExpandErrors(t *testing.T) {
	vars := map[string]string{"mirror": "ftp://h"}
	_, err := repofile.Repo{Alias: "a",
		BaseURLs: []string{"https://h/$releasever/$basearch"}}.Expand(vars)
	if ve, ok := errors.AsType[*repofile.VariableError](err); !ok ||
		*ve != (repofile.VariableError{Alias: "a", Name: "releasever"}) {
		t.Errorf("unknown variable: %v", err)
	} else if err.Error() != "repository a: no value for the variable $releasever" {
		t.Errorf("error %q", err)
	}
	_, err = repofile.Repo{Alias: "a", Enabled: true, BaseURLs: []string{"$mirror/"}}.Expand(vars)
	if ue, ok := errors.AsType[*repofile.UnsupportedError](err); !ok || ue.What != `a "ftp" URL` {
		t.Errorf("unsupported URL: %v", err)
	}
}
