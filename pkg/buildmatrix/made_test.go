package buildmatrix

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/compile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
)

// clean removes what Made names and returns the files that are left below the build directory.
func (f *packageDir) clean() []string {
	f.t.Helper()
	c, err := config.Load(f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	names, err := Made(c)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, name := range names {
		_ = os.Remove(name)
	}
	left := []string{}
	err = filepath.WalkDir(filepath.Join(f.dir, config.BuildDir),
		func(name string, e os.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				rel, _ := filepath.Rel(f.dir, name)
				left = append(left, rel)
			}
			return nil
		})
	if err != nil {
		f.t.Fatal(err)
	}
	slices.Sort(left)
	return left
}

// TestMadeWithoutReport: containers are known by name and content when the report is lost or
// damaged; what somebody else put there stays.
func TestMadeWithoutReport(t *testing.T) {
	report := filepath.Join(config.BuildDir, ReportName)
	for name, damage := range map[string]func(f *packageDir){
		"whole":              func(*packageDir) {},
		"lost":               func(f *packageDir) { os.Remove(filepath.Join(f.dir, report)) },
		"damaged":            func(f *packageDir) { f.write(report, "{") },
		"of another version": func(f *packageDir) { f.write(report, `{"format": 99}`) },
		"of another directory": func(f *packageDir) {
			f.write(report, `{"format": 1, "cells": [{"arch": "../..", "container": `+
				`"lpbuild.yaml"}]}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1", "1.0-2")
			f.mustBuild()
			object, err := filepath.Glob(filepath.Join(f.dir, config.BuildDir, compile.Dir, "*.so"))
			if err != nil || len(object) != 1 {
				t.Fatal(object, err)
			}
			plain, err := os.ReadFile(object[0])
			if err != nil {
				t.Fatal(err)
			}
			// a shared object, but no live patch
			f.write("build/x86_64/theirs_livepatch1.so", string(plain))
			f.write("build/x86_64/text_livepatch1.so", "not ELF")
			f.write("build/notes.txt", "theirs")
			packed, err := os.ReadFile(
				filepath.Join(f.dir, "build/x86_64/libtoy_1.0-1_livepatch1.so"))
			if err != nil {
				t.Fatal(err)
			}
			f.write("build/x86_64/saved.so", string(packed)) // not a name that lpbuild gives
			f.write("build/mine/libtoy_1.0-1_livepatch1.so", string(packed))
			for _, half := range []string{
				"build/x86_64/.libtoy_1.0-1_livepatch1.so.123", "build/.report.json.4",
				"build/.objects/include/.features.h.5",
				"build/.objects/." + strings.Repeat("a", 64) + ".json.6",
			} {
				f.write(half, "of a build that was killed")
			}
			damage(f)
			want := []string{
				"build/mine/libtoy_1.0-1_livepatch1.so", "build/notes.txt", "build/x86_64/saved.so",
				"build/x86_64/text_livepatch1.so", "build/x86_64/theirs_livepatch1.so",
			}
			if d := cmp.Diff(want, f.clean()); d != "" {
				t.Errorf("left (-want +got):\n%s", d)
			}
		})
	}
}

// TestStaleContainersGoWithoutReport: a build after the report was lost removes what it does not
// make again.
func TestStaleContainersGoWithoutReport(t *testing.T) {
	f := newPackage(t, "1.0-1", "2.0-1")
	f.mustBuild()
	if err := os.Remove(filepath.Join(f.dir, config.BuildDir, ReportName)); err != nil {
		t.Fatal(err)
	}
	f.edit("packages: [{name: toy}]", "packages: [{name: toy, builds: '< 2'}]")
	f.mustBuild()
	left, _ := filepath.Glob(filepath.Join(f.dir, config.BuildDir, "x86_64", "*"))
	if len(left) != 1 || filepath.Base(left[0]) != "libtoy_1.0-1_livepatch1.so" {
		t.Errorf("left are %v", left)
	}
}
