package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestClean removes what dist wrote, including the leftovers of a killed run, and no other file.
func TestClean(t *testing.T) {
	c, l, r := newPackage(t)
	l.Builds = nil
	before := content(t, c.Dir)
	if _, err := Make(t.Context(), c, l, r); err != nil {
		t.Fatal(err)
	}
	put(t, c.Dir, map[string]string{
		"dist/lp-0.9.tar.xz": "former", "dist/.lpbuild-dist-123/lp.spec": "x",
		"dist/.lpbuild-dist-123/lp-1.0.tar.xz.former": "x",
		"dist/.lpbuild-dist-123/.lp-rpmlintrc.456":    "x",
	})
	removed, err := Clean(c)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, content(t, c.Dir)); d != "" {
		t.Errorf("after clean (-want +got):\n%s", d)
	}
	if n := len(removed); n != 4+1+3+2 || removed[n-1] != filepath.Join(c.Dir, distDir) {
		t.Errorf("removed %q", removed)
	}
	if again, err := Clean(c); err != nil || len(again) > 0 {
		t.Errorf("again: %q, %v", again, err)
	}
}

// TestCleanKeepsOthers keeps files with other names, directories with the names of our files, and
// links.
func TestCleanKeepsOthers(t *testing.T) {
	c, _, _ := newPackage(t)
	put(t, c.Dir, map[string]string{
		"dist/mine.patch": "x", "dist/lp.spec.orig": "x", "dist/lp-notes.tar.xz": "x",
		"dist/other.spec": "x", "dist/.osc/_apiurl": "x",
		"dist/.lpbuild-dist-9/mine": "x", "dist/lp-rpmlintrc/x": "x", "build/notes.txt": "x",
		"build/x86_64/core": "x", "precious": "x",
	})
	if err := os.Symlink("../precious", filepath.Join(c.Dir, "dist/lp.changes")); err != nil {
		t.Fatal(err)
	}
	before := content(t, c.Dir)
	removed, err := Clean(c)
	if err != nil || len(removed) > 0 {
		t.Errorf("removed %q, %v", removed, err)
	}
	if d := cmp.Diff(before, content(t, c.Dir)); d != "" {
		t.Errorf("after clean (-want +got):\n%s", d)
	}
}

// TestCleanFollowsNoLink keeps the targets of links that somebody made in place of build and dist.
func TestCleanFollowsNoLink(t *testing.T) {
	c, _, _ := newPackage(t)
	elsewhere := t.TempDir()
	put(t, elsewhere, map[string]string{
		"lp.spec": "x", "lp-1.0.tar.xz": "x", ".lpbuild-dist-1/lp.spec": "x",
		"report.json": `{"format": 1, "cells": [{"status": "built", "arch": "x86_64", ` +
			`"container": "a.so"}]}`, "x86_64/a.so": "x", ".objects/include/features.h": "x",
	})
	for _, name := range []string{"build", "dist"} {
		if err := os.Symlink(elsewhere, filepath.Join(c.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	before, here := content(t, elsewhere), content(t, c.Dir)
	removed, err := Clean(c)
	if err != nil || len(removed) > 0 {
		t.Errorf("removed %q, %v", removed, err)
	}
	if d := cmp.Diff(before, content(t, elsewhere)); d != "" {
		t.Errorf("at the target of the link (-want +got):\n%s", d)
	}
	if d := cmp.Diff(here, content(t, c.Dir)); d != "" {
		t.Errorf("in the directory (-want +got):\n%s", d)
	}
}

// TestCleanBuild removes the containers that the report names, through directories only.
func TestCleanBuild(t *testing.T) {
	c, _, _ := newPackage(t)
	put(t, c.Dir, map[string]string{
		"build/report.json": `{"format": 1, "cells": [{"status": "built", "arch": "x86_64", ` +
			`"container": "a.so"}, {"status": "built", "arch": "ppc64le", "container": "a.so"}]}`,
		"build/x86_64/a.so": "x", "build/x86_64/b.so": "mine", "elsewhere/a.so": "somebody's",
	})
	if err := os.Symlink("../elsewhere", filepath.Join(c.Dir, "build/ppc64le")); err != nil {
		t.Fatal(err)
	}
	if _, err := Clean(c); err != nil {
		t.Fatal(err)
	}
	got := content(t, c.Dir)
	for name := range got {
		if !strings.HasPrefix(name, "build/") && !strings.HasPrefix(name, "elsewhere/") {
			delete(got, name)
		}
	}
	want := map[string]string{"build/": "", "build/x86_64/": "", "build/x86_64/b.so": "mine",
		"build/ppc64le": "-> ../elsewhere", "elsewhere/": "", "elsewhere/a.so": "somebody's"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("after clean (-want +got):\n%s", d)
	}
}
