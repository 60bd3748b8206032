package abi_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/abi"
)

// two makes two libraries with the same source, and returns them.
func two(t *testing.T, options ...string) (a, b string) {
	t.Helper()
	dir := t.TempDir()
	a, b = filepath.Join(dir, "a.so"), filepath.Join(dir, "b.so")
	for from, to := range map[string]string{
		library(t, options...):                a,
		library(t, append(options, "-DB")...): b,
	} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

func TestDwz(t *testing.T) {
	for name, version := range map[string]string{"DWARF 4": "-gdwarf-4", "DWARF 5": "-gdwarf-5"} {
		t.Run(name, func(t *testing.T) {
			for multi, args := range map[string][]string{
				"one file":           {},
				".gnu_debugaltlink":  {"-m", "common.debug"},
				".debug_sup":         {"-m", "common.debug", "--dwarf-5"},
				".debug_sup, no odr": {"-m", "common.debug", "--dwarf-5", "--no-odr"},
			} {
				t.Run(multi, func(t *testing.T) {
					a, b := two(t, version)
					for i, arg := range args {
						if arg == "common.debug" {
							args[i] = filepath.Join(filepath.Dir(a), arg)
						}
					}
					run(t, "dwz", append(args, a, b)...)
					check(t, read(t, a))
					check(t, read(t, b))
				})
			}
		})
	}
}

func TestDwzMissing(t *testing.T) {
	a, b := two(t)
	common := filepath.Join(filepath.Dir(a), "common.debug")
	run(t, "dwz", "-m", common, a, b)
	_, err := abi.Read(open(t, a), abi.Options{})
	missing, ok := errors.AsType[*abi.AltError](err)
	if !ok || missing.Name != common || missing.BuildID == "" {
		t.Errorf("without a supplementary file: %v", err)
	}
	// The file of another build.
	if err := os.Rename(library(t), common); err != nil {
		t.Fatal(err)
	}
	_, err = abi.Read(open(t, a), abi.Options{Alt: besides(t, a)})
	if _, ok := errors.AsType[*abi.BuildIDError](err); !ok {
		t.Errorf("with another supplementary file: %v", err)
	}
}

// TestAltCycle reads files that name each other as supplementary.
func TestAltCycle(t *testing.T) {
	a, b := two(t)
	common := filepath.Join(filepath.Dir(a), "common.debug")
	run(t, "dwz", "-m", common, a, b)
	facts := read(t, a)
	link := filepath.Join(t.TempDir(), "link")
	run(t, "objcopy", "--dump-section", ".gnu_debugaltlink="+link, a)
	run(t, "objcopy", "--add-section", ".gnu_debugaltlink="+link, common)
	if again := read(t, a); len(again.Layouts) != len(facts.Layouts) {
		t.Errorf("%d layouts instead of %d", len(again.Layouts), len(facts.Layouts))
	}
}
