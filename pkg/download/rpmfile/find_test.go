package rpmfile_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sassoftware/go-rpmutils"

	"github.com/lpbuild/lpbuild/pkg/download/rpmfile"
)

func TestFind(t *testing.T) {
	tests := map[string]string{
		"libdemo.so.6":                        "/lib64/libdemo-2.31.so", // and not /usr/share/demo/libdemo.so.6
		"/lib64/libdemo.so.6":                 "/lib64/libdemo-2.31.so",
		"lib64/libdemo.so.6":                  "/lib64/libdemo-2.31.so",
		"/usr/lib64/libdemo.so.6":             "/lib64/libdemo-2.31.so",
		"/usr/lib64/../../lib64/libdemo.so.6": "/lib64/libdemo-2.31.so",
		"libdemo.so":                          "/lib64/libdemo-2.31.so",
		"libdemo-2.31.so":                     "/lib64/libdemo-2.31.so",
		"libup.so":                            "/lib64/libdemo-2.31.so",
		"ISO-2022-CN-EXT.so":                  "/usr/lib64/gconv/ISO-2022-CN-EXT.so",
		"/lib64/gconv/ISO-2022-CN-EXT.so":     "/usr/lib64/gconv/ISO-2022-CN-EXT.so",
		"/usr/lib64/gconv/ISO-2022-CN-EXT.so": "/usr/lib64/gconv/ISO-2022-CN-EXT.so",
		"libtwice.so.1":                       "/usr/lib64/libtwice.so.1",
		"/usr/lib/demo/libtwice.so.1":         "/usr/lib/demo/libtwice.so.1",
		"libhard-2.so":                        "/usr/lib64/libhard-2.so",
		"/usr/share/demo/libdemo.so.6":        "/usr/share/demo/libdemo.so.6",
		"/opt/lib/a/libsame.so":               "/opt/lib/a/libsame.so",
		"libsame.so":                          "", // in two folders that no loader looks into
		"libdangling.so":                      "",
		"/usr/share/demo":                     "",
		"ghost.so":                            "",
		"/var/lib/demo/ghost.so":              "",
		"libmissing.so":                       "",
		"/share/demo/libdemo.so.6":            "",
		"":                                    "",
		"/":                                   "",
		"../../../../lib64/libdemo.so.6/../../etc": "",
	}
	r := open(t, pkg(t, "gzip"))
	for name, want := range tests {
		if got, ok := r.Find(name); got != want || ok != (want != "") {
			t.Errorf("Find(%q) = %q, %t; want %q", name, got, ok, want)
		}
	}
}

// TestFindLoop follows a link that leads to itself, which rpmbuild refuses to pack.
func TestFindLoop(t *testing.T) {
	r := parse(t, crafted(t, func(p *parts) { replace(p, rpmutils.FILELINKTOS, "nowhere", "libdangling.so") }))
	if got, ok := r.Find("libdangling.so"); ok {
		t.Errorf("found %q", got)
	}
}

func TestLocateSays(t *testing.T) {
	r := open(t, pkg(t, "gzip"))
	for _, name := range []string{"libmissing.so", "/lib64/libmissing.so", "libdangling.so"} {
		if _, err := r.Locate(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	_, err := r.Locate("libsame.so")
	var ambiguous *rpmfile.AmbiguousError
	if !errors.As(err, &ambiguous) {
		t.Fatalf("got %v", err)
	}
	if d := cmp.Diff([]string{"/opt/lib/a/libsame.so", "/opt/lib/b/libsame.so"}, ambiguous.Paths); d != "" {
		t.Error(d)
	}
	const want = `"libsame.so" could be /opt/lib/a/libsame.so or /opt/lib/b/libsame.so: name one by its path`
	if err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}
