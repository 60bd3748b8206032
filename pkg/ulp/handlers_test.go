package ulp_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// handling is what is known of the functions in testdata/handlers.c.
var handling = map[string]string{"plain": "", "calls": "",
	"cleans":     "it handles exceptions or cancellation",
	"cleans_too": "it handles exceptions or cancellation"}

// handlersOf returns what a library says of functions that have names.
func handlersOf(t *testing.T, l *symtab.Library) map[string]string {
	t.Helper()
	got := map[string]string{}
	for name := range handling {
		s, ok := l.Function(name)
		if !ok {
			t.Fatalf("no function %s", name)
		}
		got[name] = l.Handlers(s.Value)
	}
	return got
}

// TestHandlers finds the functions that have something to clean up: in the library, in its stripped
// file with its debuginfo, in the catalogue; with NOPs at their entries and without.
func TestHandlers(t *testing.T) {
	for _, flags := range []string{"-fpatchable-function-entry=16,14", "-fcf-protection=full"} {
		image := x86.build(t, "testdata/handlers.c", "-fexceptions", flags)
		l := proven(t, image, symtab.LibraryOptions{})
		if d := cmp.Diff(handling, handlersOf(t, l)); d != "" || !l.HasHandlers() {
			t.Errorf("%s: (-want +got):\n%s", flags, d)
		}
		stripped, debug := x86.strip(t, image)
		if d := cmp.Diff(handling,
			handlersOf(t,
				proven(t, stripped,
					symtab.LibraryOptions{Debug: writeFile(t, "lib.debug", debug)}))); d != "" {
			t.Errorf("%s, stripped (-want +got):\n%s", flags, d)
		}
		text := l.AppendCatalogue(nil)
		again, err := symtab.ParseCatalogue(text)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(handling, handlersOf(t, again)); d != "" || !again.HasHandlers() ||
			!bytes.Equal(again.AppendCatalogue(nil), text) {
			t.Errorf("%s, catalogue (-want +got):\n%s", flags, d)
		}
		if !json.Valid(text) {
			t.Errorf("not JSON: %s", text)
		}
	}
	image := x86.build(t, "testdata/handlers.c")
	if l := proven(t, image, symtab.LibraryOptions{}); !l.HasHandlers() ||
		strings.Join(values(handlersOf(t, l)), "") != "" {
		t.Errorf("without -fexceptions: %v", handlersOf(t, l))
	}
	if l := parseLibrary(t, image, nil); l.HasHandlers() ||
		strings.Contains(string(l.AppendCatalogue(nil)), "unwinding") {
		t.Error("something that nobody asked for")
	}
	for _, c := range toolchains[1:] {
		if l := proven(t, c.build(t, "testdata/handlers.c", "-fexceptions"),
			symtab.LibraryOptions{}); l.HasHandlers() {
			t.Errorf("%s: the engine that it matters to is not for it", c.arch)
		}
	}
}

// TestHandlersOfUnusualForm: unwind information that is not understood is not taken for none; a
// library without any has none.
func TestHandlersOfUnusualForm(t *testing.T) {
	image := bytes.Clone(x86.build(t, "testdata/handlers.c", "-fexceptions"))
	at := bytes.Index(image, []byte{1, 0x1b, 3, 0x3b}) // .eh_frame_hdr
	image[at+2] = 0x04
	for name, why := range handlersOf(t, proven(t, image, symtab.LibraryOptions{})) {
		if why != "its unwind information is of an unusual form" {
			t.Errorf("%s: %q", name, why)
		}
	}
	image = x86.build(t, "testdata/handlers.c", "-fno-asynchronous-unwind-tables", "-nostdlib")
	if l := proven(t, image, symtab.LibraryOptions{}); !l.HasHandlers() ||
		strings.Join(values(handlersOf(t, l)), "") != "" {
		t.Errorf("without unwind information: %v", handlersOf(t, l))
	}
}

func values(m map[string]string) []string {
	var list []string
	for _, v := range m {
		list = append(list, v)
	}
	return list
}

// TestCatalogueUnwinding reads what others wrote into a catalogue: other rules, and mistakes.
func TestCatalogueUnwinding(t *testing.T) {
	const before, after = `{"library":{"name":"l","buildid":"","arch":"x86_64"`, `,"symbols":[]}}`
	for name, tc := range map[string]struct {
		key string
		has bool
		err string
	}{
		"handlers": {`,"unwinding":{"proof":1,"verdicts":[{"why":"x","at":[3]}],` +
			`"more":[1]}`, true, ""},
		"no handlers": {`,"unwinding":{"proof":1,"verdicts":[]}`, true, ""},
		"other rules": {`,"unwinding":{"proof":2,"verdicts":[{"why":"x","at":[3]}]}`, false,
			""},
		"a former version": {`,"entries":{"proof":1,"verdicts":[]}`, false, ""},
		"no order": {`,"unwinding":{"proof":1,"verdicts":[{"why":"x","at":[3,2]}]}`, false,
			"ascending"},
		"there twice":   {`,"unwinding":{},"unwinding":{}`, false, "twice"},
		"not an object": {`,"unwinding":[]`, false, "catalogue"},
		"too many verdicts": {`,"unwinding":{"proof":1,"verdicts":[` +
			strings.Repeat(`{"at":[]},`, 1024) + `{"at":[]}]}`, false, "too many"},
	} {
		l, err := symtab.ParseCatalogue([]byte(before + tc.key + after))
		var format *symtab.FormatError
		switch {
		case tc.err != "" && (!errors.As(err, &format) || !strings.Contains(err.Error(), tc.err)):
			t.Errorf("%s: %v, want %q", name, err, tc.err)
		case tc.err == "" && (err != nil || l.HasHandlers() != tc.has || l.Handlers(4) != "" ||
			name == "handlers" && l.Handlers(3) != "x"):
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPackUnwinding writes the choice into the container, and nothing if there is none.
func TestPackUnwinding(t *testing.T) {
	c, lib := container(t), target(t)
	plain := pack(t, good, c, lib, ulp.PackOptions{})
	if any := pack(t, good, c, lib, ulp.PackOptions{Unwinding: ulp.UnwindingAny}); !bytes.Equal(
		any.Image(), plain.Image()) || livePatch(t, any).Unwinding != "" {
		t.Errorf("any: %q", livePatch(t, any).Unwinding)
	}
	packed := pack(t, good, c, lib, ulp.PackOptions{Unwinding: ulp.UnwindingNone,
		Entries: symtab.EntriesAny})
	if p := livePatch(t, packed); p.Unwinding != ulp.UnwindingNone ||
		p.Entries != symtab.EntriesAny || !strings.Contains(p.Dump("x"), "\nunwinding: none") ||
		livePatch(t, plain).Metadata.PatchID != p.Metadata.PatchID {
		t.Errorf("none: %q", p.Unwinding)
	}
	sameSections(t, plain.Image(), packed.Image())
	if back := livePatch(t,
		pack(t, good, packed, lib, ulp.PackOptions{})); back.Unwinding != ulp.UnwindingAny ||
		strings.Contains(back.Dump("x"), "unwinding") {
		t.Errorf("packed again: %q", back.Unwinding)
	}
	path := writeFile(t, "p.so", packed.Image())
	run(t, "strip", path)
	if p := livePatch(t, parseContainer(t, readFile(t, path))); p.Unwinding != ulp.UnwindingNone {
		t.Errorf("stripped: %q", p.Unwinding)
	}
}

// FuzzUnwindingSection: whatever the section says, it is one of the words or an error.
func FuzzUnwindingSection(f *testing.F) {
	image := pack(f, good, container(f), target(f), ulp.PackOptions{}).Image()
	for _, seed := range []string{"any", "none", "", "none\x00", "all",
		strings.Repeat("none", 1000)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		changed, err := ulp.EmbedSections(image, ulp.Section{Name: ulp.SectionUnwinding,
			Data: data})
		if err != nil {
			t.Fatal(err)
		}
		p, err := parseContainer(t, changed).LivePatch()
		var format *symtab.FormatError
		switch {
		case err == nil && string(p.Unwinding) != string(data), err == nil &&
			p.Unwinding != ulp.UnwindingAny && p.Unwinding != ulp.UnwindingNone:
			t.Fatalf("%q is read as %q", data, p.Unwinding)
		case err != nil && (p != nil || !errors.As(err, &format) || len(err.Error()) > 400):
			t.Fatal(p, err)
		}
	})
}

// TestContainerHandles tells the replacements that clean up from those that do not.
func TestContainerHandles(t *testing.T) {
	for flag, want := range map[string]bool{"-fexceptions": true, "-fno-exceptions": false} {
		c := parseContainer(t, x86.build(t, "testdata/handlers.c", flag))
		for name := range handling {
			s, ok := c.Lookup(name)
			handles, err := c.Handles(s.Value)
			if !ok || err != nil || handles != (want && handling[name] != "") {
				t.Errorf("%s: %s: %t, %v", flag, name, handles, err)
			}
		}
		if handles, err := c.Handles(1 << 40); handles || err != nil {
			t.Errorf("nowhere: %t, %v", handles, err)
		}
	}
	for _, c := range toolchains[1:] {
		if _, err := parseContainer(t, c.build(t, "testdata/handlers.c", "-fexceptions")).
			Handles(0); err != nil {
			t.Errorf("%s: %v", c.arch, err)
		}
	}
}
