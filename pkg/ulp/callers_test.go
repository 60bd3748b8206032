package ulp_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// reliedOn returns what a library says of the callers of the functions in testdata/registers.c,
// without addresses.
func reliedOn(t *testing.T, l *symtab.Library) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, name := range []string{"callee", "other", "ends", "inner", "middle", "sets"} {
		s, ok := l.Function(name)
		if !ok || !s.Patchable {
			t.Fatalf("no NOPs at %s", name)
		}
		got[name], _, _ = strings.Cut(l.ReliedOn(s.Value), " across")
	}
	return got
}

// TestReliedOn finds the callers that rely on registers of functions with NOPs: in the library, in
// its stripped file with its debuginfo, and in the catalogue. With the option instead of the
// attribute GCC makes no such callers.
func TestReliedOn(t *testing.T) {
	image := x86.build(t, "testdata/registers.c")
	l := proven(t, image, symtab.LibraryOptions{})
	want := map[string]string{"callee": "keeps keeps a value in %rcx", "other": "", "ends": "",
		"inner": "far keeps a value in %rcx", "middle": "far keeps a value in %rcx",
		"sets": "result keeps a value in %rdx"}
	if d := cmp.Diff(want, reliedOn(t, l)); d != "" || !l.HasCallers() {
		t.Errorf("(-want +got):\n%s", d)
	}
	stripped, debug := x86.strip(t, image)
	if d := cmp.Diff(want,
		reliedOn(t, proven(t, stripped,
			symtab.LibraryOptions{Debug: writeFile(t, "lib.debug", debug)}))); d != "" {
		t.Errorf("stripped (-want +got):\n%s", d)
	}
	text := l.AppendCatalogue(nil)
	again, err := symtab.ParseCatalogue(text)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, reliedOn(t, again)); d != "" || !again.HasCallers() ||
		!bytes.Equal(again.AppendCatalogue(nil), text) {
		t.Errorf("catalogue (-want +got):\n%s", d)
	}
	for name := range want {
		want[name] = ""
	}
	if d := cmp.Diff(want,
		reliedOn(t, proven(t, x86.build(t, "testdata/registers.c",
			"-fpatchable-function-entry=16,14"), symtab.LibraryOptions{}))); d != "" {
		t.Errorf("-fpatchable-function-entry (-want +got):\n%s", d)
	}
	if l := parseLibrary(t, image, nil); l.HasCallers() ||
		strings.Contains(string(l.AppendCatalogue(nil)), "callers") {
		t.Error("something that nobody asked for")
	}
}

// TestCheckRegisters refuses to replace such a function, and names the caller.
func TestCheckRegisters(t *testing.T) {
	lib := proven(t, x86.build(t, "testdata/registers.c"), symtab.LibraryOptions{})
	for name, refused := range map[string]bool{"callee": true, "other": false} {
		d, err := ulp.ParseDescription("test.dsc", []byte("patch.so\n@lib.so\n"+name+":lp\n"))
		if err != nil {
			t.Fatal(err)
		}
		err = ulp.Check(d, nil, lib, symtab.EntriesNOPs)
		list, _ := errors.AsType[diag.List](err)
		if refused != (len(list) == 1 && errors.Is(list[0], ulp.ErrRegisters) &&
			strings.Contains(list[0].Message, "keeps keeps a value in %rcx")) ||
			!refused && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
