package buildmatrix

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// addVariant gives build i a second libtoy for some processors: the one of another variant of the
// source.
func (f *packageDir) addVariant(i int, name string, source int) {
	f.t.Helper()
	lib := f.catalogued(image(f.t, source, "x86_64"), "libtoy.so.1", true)
	catalogue := lib.AppendCatalogue(nil)
	b := &f.lock.Builds[i]
	l := download.Library{
		Name: "libtoy.so.1", Variant: name, Path: "/usr/lib64/glibc-hwcaps/" + name +
			"/libtoy.so.1.2.3", BuildID: fmt.Sprintf("%x", lib.BuildID),
		Catalogue: strings.TrimSuffix(b.Libraries[0].Catalogue, ".json") + "-" + name + ".json",
		Pinned:    digest.OfBytes(catalogue),
	}
	b.Libraries = append(b.Libraries, l)
	f.write(l.Catalogue, string(catalogue))
}

// TestVariants makes a container for each library of the name, told apart by their names however
// the description puts it.
func TestVariants(t *testing.T) {
	for _, name := range []string{"libtoy_{version}-{release}_livepatch1.so",
		"libtoy_GLIBCVER_livepatch1.so", "libtoy_1.0-1.2_livepatch1.so"} {
		f := newPackage(t, "1.0-1.2")
		f.addVariant(0, "x86-64-v3", 7)
		f.write("toy_livepatch1.in", name+"\n@{library}\ntoy_add:toy_add_lp\n")
		r := f.mustBuild()
		want := [][2]string{{"libtoy_1.0-1.2_livepatch1.so", ""},
			{"libtoy_1.0-1.2.x86-64-v3_livepatch1.so", "x86-64-v3"}}
		var got [][2]string
		for i, c := range r.Cells {
			got = append(got, [2]string{c.Container, c.Variant})
			data, _ := f.container(c).Section(ulp.SectionMetadata)
			m, err := ulp.ParseMetadata(data)
			if err != nil {
				t.Fatal(err)
			}
			if id := fmt.Sprintf("%x",
				m.Target.BuildID); id != f.lock.Builds[0].Libraries[i].BuildID ||
				m.Target.Name != "libtoy.so.1" {
				t.Errorf("%s is for %s of build-id %s", c.Container, m.Target.Name, id)
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if again := f.mustBuild(); again.Cells[1].Fresh || again.CompilerRuns != 0 {
			t.Errorf("%s: the second run worked", name)
		}
	}
}

// TestVariantInDescription: a description for one variant alone fits no other library.
func TestVariantInDescription(t *testing.T) {
	f := newPackage(t, "1.0-1")
	f.addVariant(0, "power9", 7)
	f.write("toy_livepatch1.in", "libtoy_1.0-1.power9_livepatch1.so\n@{library}\n"+
		"toy_add:toy_add_lp\n")
	r, err := f.build()
	if !errors.Is(err, ErrRefused) || r.Cells[0].Status != Refused ||
		r.Cells[0].Reasons[0].Code != "container-name" ||
		r.Cells[1].Container != "libtoy_1.0-1.power9_livepatch1.so" {
		t.Errorf("%v: %s", err, reasonText(r))
	}
}

// TestVariantRefused: a refusal says which of the libraries it is about.
func TestVariantRefused(t *testing.T) {
	f := newPackage(t, "1.0-1")
	f.addVariant(0, "power9", 7)
	f.write("toy_livepatch1.in", "libtoy_{version}-{release}_livepatch1.so\n@{library}\n"+
		"toy_new:toy_add_lp\n") // only in 2 and later
	r, err := f.build()
	if !errors.Is(err, ErrRefused) || r.Cells[0].Status != Refused || r.Cells[1].Status != Built {
		t.Errorf("%v: %s", err, reasonText(r))
	}
	c := Cell{Patch: &config.Patch{Description: "d.in", Library: "libtoy.so.1"},
		Build: &f.lock.Builds[0], Library: &f.lock.Builds[0].Libraries[1]}
	if c.Name() != "d.in for toy-1.0-1.x86_64 (power9)" ||
		c.target() != "/usr/lib64/glibc-hwcaps/power9/libtoy.so.1" {
		t.Errorf("the cell is %s, its target %s", c.Name(), c.target())
	}
}

// TestTargetOfMergedLibrary: from 2.34 on, glibc keeps libpthread's functions in libc.so.6.
func TestTargetOfMergedLibrary(t *testing.T) {
	for _, tc := range []struct{ source, version, library, want string }{
		{"glibc", "2.31", "libpthread.so.0", "/lib64/libpthread.so.0"},
		{"glibc", "2.38", "libpthread.so.0", "/lib64/libc.so.6"},
		{"toy", "2.38", "libpthread.so.0", "/lib64/libpthread.so.0"},
		{"glibc", "2.38", "/usr/lib64/gconv/ISO-2022-CN-EXT.so",
			"/usr/lib64/gconv/ISO-2022-CN-EXT.so"},
	} {
		c := Cell{Patch: &config.Patch{Library: tc.library}, Build: &download.Build{Name: "x",
			Source: tc.source, Version: tc.version, Release: "1"}, Library: &download.Library{}}
		if got := c.target(); got != tc.want {
			t.Errorf("%s %s: target of %s is %s, want %s", tc.source, tc.version, tc.library, got,
				tc.want)
		}
	}
}

// TestTwins makes a container for each of two builds that differ in nothing but the epoch.
func TestTwins(t *testing.T) {
	f := newPackage(t, "1.0-1", "1.0-2")
	b := &f.lock.Builds[1]
	b.Release, b.Epoch, b.Twin = "1", 2, "epoch2"
	f.addVariant(1, "x86-64-v3", 7)
	var got []string
	r := f.mustBuild()
	for _, c := range r.Cells {
		got = append(got, c.Container)
	}
	want := []string{"libtoy_1.0-1_livepatch1.so", "libtoy_1.0-1.epoch2_livepatch1.so",
		"libtoy_1.0-1.epoch2.x86-64-v3_livepatch1.so"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("containers (-want +got):\n%s", d)
	}
	c := Cell{Patch: &config.Patch{Description: "d.in", Library: "libtoy.so.1"}, Build: b,
		Library: &b.Libraries[0]}
	if c.Name() != "d.in for toy-2:1.0-1.x86_64 (epoch2)" || c.target() != "/lib64/libtoy.so.1" {
		t.Errorf("the cell is %s, its target %s", c.Name(), c.target())
	}
}
