package ulp_test

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// patchable returns the names of the functions that the package takes for patchable.
func patchable(t testing.TB, image []byte) []string {
	t.Helper()
	names := make(map[string]bool)
	for s := range parseLibrary(t, image, nil).Symbols() {
		if s.Patchable {
			names[s.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func TestPatchable(t *testing.T) {
	library := []string{"calls_absent", "calls_hidden", "exported", "hidden", "leaf"}
	x86, ppc64le, aarch64 := toolchains[0], toolchains[1], toolchains[2]
	tests := map[string]struct {
		image []byte
		want  []string
	}{
		"x86_64":          {x86.library(t), library},
		"x86_64, endbr64": {x86.library(t, "-fcf-protection=full"), library},
		"x86_64, RELR":    {x86.library(t, "-Wl,-z,pack-relative-relocs"), library},
		"x86_64, lld's layout": {x86.library(t, "-Wl,-z,separate-code", "-Wl,-z,norelro"),
			library},
		"x86_64, not livepatched": {x86.build(t, "testdata/library.c"), nil},
		"x86_64, too few NOPs": {x86.build(t, "testdata/library.c",
			"-fpatchable-function-entry=15,13"), nil},
		"ppc64le": {ppc64le.library(t), library},
		"ppc64le, split": {ppc64le.build(t, "testdata/split_ppc64le.s", "-nostdlib"),
			[]string{"leaf", "with_toc"}},
		"ppc64le, too few NOPs": {ppc64le.build(t, "testdata/library.c",
			"-fpatchable-function-entry=14,12"), nil},
		"aarch64":      {aarch64.library(t), library},
		"aarch64, bti": {aarch64.library(t, "-mbranch-protection=standard"), library},
		"aarch64, too few NOPs": {aarch64.build(t, "testdata/library.c",
			"-fpatchable-function-entry=4,3"), nil},
		"aarch64, none at symbol": {aarch64.build(t, "testdata/library.c",
			"-fpatchable-function-entry=8,8"), nil},
		"aarch64, bti, none at it": {aarch64.build(t, "testdata/library.c",
			"-fpatchable-function-entry=8,8", "-mbranch-protection=standard"), nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, patchable(t, tc.image)); d != "" {
				t.Errorf("patchable functions (-want +got):\n%s", d)
			}
		})
	}
}

// An executable at a fixed address has the places in the section itself.
func TestPatchableWithoutRelocations(t *testing.T) {
	image := x86.library(t, "-no-pie", "-static", "-nostdlib", "-fno-pic", "-Wl,-e,leaf",
		"-Wl,--unresolved-symbols=ignore-all")
	if got := patchable(t, image); !slices.Contains(got, "leaf") ||
		!slices.Contains(got, "hidden") {
		t.Errorf("patchable are %q", got)
	}
}

// The bytes decide, whatever the table says.
func TestPatchableBytes(t *testing.T) {
	image := x86.library(t)
	l := parseLibrary(t, image, nil)
	leaf, _ := l.Lookup("leaf")
	at := int(leaf.Value) // the linker's first segments have equal offsets and addresses
	tests := map[string]struct {
		off   int // from the symbol
		bytes string
		want  bool
	}{
		"as `ulp post` makes it": {0, "\x66\x90", true},
		"NOPs of several bytes": {-14, "\x66\x0f\x1f\x44\x00\x00\x0f\x1f\x80\x00\x00\x00\x00\x90",
			true},
		"one NOP of 9 bytes":    {-14, "\x66\x0f\x1f\x84\x00\x00\x00\x00\x00", true},
		"NOP into the function": {-2, "\x0f\x1f\x00", false},
		"patched":               {0, "\xeb\xf0", false},
		"int3 before":           {-1, "\xcc", false},
		"unknown operand":       {-3, "\x0f\x1f\xc0", false},
		"code":                  {1, "\xc3", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			changed := bytes.Clone(image)
			copy(changed[at+tc.off:], tc.bytes)
			if s, _ := parseLibrary(t, changed, nil).Lookup("leaf"); s.Patchable != tc.want {
				t.Errorf("patchable: %t", s.Patchable)
			}
		})
	}
}

// Without the table nothing is patchable, even if the NOPs are there.
func TestPatchableNeedsTable(t *testing.T) {
	path := writeFile(t, "lib.so", x86.library(t))
	run(t, "objcopy", "--rename-section", "__patchable_function_entries=renamed", path)
	l := parseLibrary(t, readFile(t, path), nil)
	if s, _ := l.Lookup("leaf"); s.Patchable || l.Livepatchable {
		t.Errorf("livepatchable: %t; leaf is patchable: %t", l.Livepatchable, s.Patchable)
	}
}
