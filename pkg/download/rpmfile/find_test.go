package rpmfile_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sassoftware/go-rpmutils"

	"github.com/lpbuild/lpbuild/pkg/download/rpmfile"
)

func TestFind(t *testing.T) {
	tests := map[string]string{
		// and not /usr/share/demo/libdemo.so.6
		"libdemo.so.6":                        "/lib64/libdemo-2.31.so",
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
		"libsame.so":                          "", // in two directories that no loader searches
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

// TestFindLoop follows a link to itself, which rpmbuild refuses to pack.
func TestFindLoop(t *testing.T) {
	r := parse(t, crafted(t, func(p *parts) {
		replace(p, rpmutils.FILELINKTOS, "nowhere", "libdangling.so")
	}))
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
	if d := cmp.Diff([]string{"/opt/lib/a/libsame.so", "/opt/lib/b/libsame.so"},
		ambiguous.Paths); d != "" {
		t.Error(d)
	}
	const want = `"libsame.so" could be /opt/lib/a/libsame.so or /opt/lib/b/libsame.so: name one ` +
		`by its path`
	if err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestAmbiguousOfMany(t *testing.T) {
	err := &rpmfile.AmbiguousError{Name: "x.so", Paths: strings.Fields("/1 /2 /3 /4 /5 /6 /7 /8 " +
		"/9 /10")}
	const want = `"x.so" could be /1, /2, /3, /4, /5, /6, /7, /8 or 2 others: name one by its path`
	if err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

// variantSpec is a package with libraries for some processors, as glibc has them on POWER and
// others on x86_64.
const variantSpec = `
Name: variants
Version: 1
Release: 1
Summary: A package for tests
License: MIT
AutoReqProv: no
%description
It has libraries for some processors.
%install
root=%{buildroot}
put() { mkdir -p $root$(dirname $1); echo $1 > $root$1; }
put /lib64/libc-2.31.so
ln -s libc-2.31.so $root/lib64/libc.so.6
put /lib64/glibc-hwcaps/power9/libc-2.31.so
ln -s libc-2.31.so $root/lib64/glibc-hwcaps/power9/libc.so.6
put /lib64/power9/libc-2.31.so
ln -s libc-2.31.so $root/lib64/power9/libc.so.6
put /lib64/tls/power8/libc.so.6
mkdir $root/lib64/power10
ln -s ../glibc-hwcaps/power9/libc-2.31.so $root/lib64/power10/libc.so.6
put /usr/lib64/libz.so.1
put /usr/lib64/glibc-hwcaps/x86-64-v3/libz.so.1
put /lib64/glibc-hwcaps/x86-64-v2/libz.so.1
put /usr/lib64/haswell/libz.so.1
put /usr/lib64/glibc-hwcaps/x86-64-v3/libonly.so.1
put /usr/lib64/app/plug.so
put /usr/lib64/app/glibc-hwcaps/x86-64-v4/plug.so
put /usr/lib64/one/ambiguous.so
put /usr/lib64/two/ambiguous.so
put /usr/lib64/both.so
put /lib64/both.so
%files
/lib64/*
/usr/lib64/*
`

// TestLocateVariants finds a library for all processors, and those that the loader prefers on some.
func TestLocateVariants(t *testing.T) {
	file, err := rpmbuild("gzip", variantSpec, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, file)
	for name, want := range map[string][]rpmfile.Located{
		"libc.so.6": {
			{Path: "/lib64/libc-2.31.so"},
			// power10 leads there, too
			{Path: "/lib64/glibc-hwcaps/power9/libc-2.31.so", Variant: "power9"},
			{Path: "/lib64/power9/libc-2.31.so", Variant: "legacy.power9"},
			{Path: "/lib64/tls/power8/libc.so.6", Variant: "tls.power8"},
		},
		"/lib64/power9/libc.so.6": {{Path: "/lib64/power9/libc-2.31.so", Variant: "power9"}},
		"/lib64/libc.so.6":        {{Path: "/lib64/libc-2.31.so"}},
		"libz.so.1": {
			{Path: "/usr/lib64/libz.so.1"},
			{Path: "/lib64/glibc-hwcaps/x86-64-v2/libz.so.1", Variant: "x86-64-v2"},
			{Path: "/usr/lib64/glibc-hwcaps/x86-64-v3/libz.so.1", Variant: "x86-64-v3"},
			{Path: "/usr/lib64/haswell/libz.so.1", Variant: "haswell"},
		},
		"libonly.so.1": {{Path: "/usr/lib64/glibc-hwcaps/x86-64-v3/libonly.so.1",
			Variant: "x86-64-v3"}},
		"plug.so": {{Path: "/usr/lib64/app/plug.so"},
			{Path: "/usr/lib64/app/glibc-hwcaps/x86-64-v4/plug.so", Variant: "x86-64-v4"}},
		"both.so": {{Path: "/lib64/both.so"}},
	} {
		got, err := r.Locate(name)
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, d)
		}
	}
	var ambiguous *rpmfile.AmbiguousError
	if _, err := r.Locate("ambiguous.so"); !errors.As(err, &ambiguous) {
		t.Errorf("got %v, want an AmbiguousError", err)
	}
}
