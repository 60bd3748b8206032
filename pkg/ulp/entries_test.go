package ulp_test

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/internal/hotpatch"
	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// entriesSource is a library with a function of each kind.
const entriesSource = `.text
.macro function name
	.globl \name
	.type \name, @function
	\name:
.endm
.macro end name
	.size \name, . - \name
	.balign 16, 0xcc
.endm
	.skip 32, 0xcc
function plain; mov %edi, %eax; add $1, %eax; ret; end plain
function landing; endbr64; mov $1, %eax; ret; end landing
function short; xor %eax, %eax; ret; end short
function calls; call *%rdi; mov $1, %eax; ret; end calls
function loops; 1: add $1, %rax; cmp %rdi, %rax; jne 1b; ret; end loops
function table; lea 1f(%rip), %rax; jmp *%rdi; 1: ret; end table
function entered; push %rbx; mov %rdi, %rbx; pop %rbx; ret; end entered
function enters; mov $1, %eax; .byte 0xe9; .long entered + 1 - . - 4; end enters
function near; push %rbx; mov %rdi, %rbx; pop %rbx; ret; end near
function jumps; mov $1, %eax; jmp near + 1; end jumps
function relied; mov $1, %eax; ret; end relied
function keeps; mov %rdi, %r11; .byte 0xe8; .long relied - . - 4;
mov (%r11), %rcx; add %rcx, %rax; ret; end keeps
function called; mov $1, %eax; ret; end called
function forgets; .byte 0xe8; .long called - . - 4;
mov %rax, %rdi; xor %ecx, %ecx; add %rcx, %rdi; ret; end forgets
function unsized; mov $1, %eax; ret; .balign 16, 0xcc
	.type framed, @function
framed:	.cfi_startproc; mov $1, %eax; ret; .cfi_endproc; .size framed, . - framed
	.balign 16, 0xcc
	.type bare, @function
bare:	mov $1, %eax; ret; .size bare, . - bare
	.balign 32, 0xcc
	.skip 18, 0x90
function nops; nop; nop; mov $1, %eax; ret; end nops
	.skip 32, 0xcc
.section .note.GNU-stack,"",@progbits
`

// verdicts are what the proofs of entriesSource say.
var verdicts = map[string]string{
	"plain": "", "landing": "", "framed": "", "enters": "", "nops": "",
	"short": "",
	"calls": "a call within its first bytes",
	"loops": "a branch in it leads into its first bytes",
	"table": "a jump in it may lead anywhere in it",
	"jumps": "", "near": "what may be a branch elsewhere leads into its first bytes",
	"entered": "what may be a branch elsewhere leads into its first bytes",
	"keeps":   "", "relied": "a caller in the library relies on registers that it leaves alone",
	"called": "", "forgets": "",
	"unsized": "its size is not known",
	"bare":    "its size is not known",
}

// proven reads a library with its proofs.
func proven(t testing.TB, image []byte, o symtab.LibraryOptions) *symtab.Library {
	t.Helper()
	o.Name, o.Prove = "lib.so", true
	l, err := symtab.OpenLibrary(writeFile(t, "lib.so", image), o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// judged returns what the proofs say of some functions.
func judged(t *testing.T, l *symtab.Library, names []string) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, name := range names {
		s, ok := l.Function(name)
		if !ok {
			t.Fatalf("no function %s", name)
		}
		if why, ok := l.EntryProof(s.Value); ok {
			got[name] = why
		}
	}
	return got
}

// TestProofs judges functions of all kinds, and the same when they are stripped to their debuginfo,
// and in the catalogue.
func TestProofs(t *testing.T) {
	image := x86.build(t, entriesSource, "-nostdlib")
	names := slices.Sorted(maps.Keys(verdicts))
	l := proven(t, image, symtab.LibraryOptions{})
	if d := cmp.Diff(verdicts, judged(t, l, names)); d != "" || !l.HasProofs() {
		t.Errorf("verdicts (-want +got):\n%s", d)
	}
	stripped, debug := x86.strip(t, image)
	if d := cmp.Diff(verdicts,
		judged(t, proven(t, stripped,
			symtab.LibraryOptions{Debug: writeFile(t, "lib.debug", debug)}), names)); d != "" {
		t.Errorf("stripped (-want +got):\n%s", d)
	}
	text := l.AppendCatalogue(nil)
	again, err := symtab.ParseCatalogue(text)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(verdicts, judged(t, again, names)); d != "" || !again.HasProofs() ||
		string(again.AppendCatalogue(nil)) != string(text) {
		t.Errorf("catalogue (-want +got):\n%s", d)
	}
	if !json.Valid(text) {
		t.Errorf("not JSON: %s", text)
	}
	if plain := parseLibrary(t, image, nil); plain.HasProofs() ||
		strings.Contains(string(plain.AppendCatalogue(nil)), "entries") {
		t.Error("proofs that nobody asked for")
	}
}

// TestProofsOfSeveralSegments: a branch may come from other segments with code, too.
func TestProofsOfSeveralSegments(t *testing.T) {
	text := strings.ReplaceAll(entriesSource, ".section .note", `.section .far, "ax"
	.skip 32, 0xcc
	.globl afar
	.type afar, @function
afar:	mov $1, %eax; .byte 0xe9; .long plain + 2 - . - 4; .size afar, . - afar
.section .note`)
	image := x86.build(t, text, "-nostdlib", "-Wl,-Bsymbolic", "-Wl,--section-start=.far=0x200000")
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	segments := 0
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 {
			segments++
		}
	}
	if segments != 2 {
		t.Fatalf("%d segments with code", segments)
	}
	want := maps.Clone(verdicts)
	want["plain"], want["afar"] = verdicts["entered"], ""
	if d := cmp.Diff(want, judged(t, proven(t, image, symtab.LibraryOptions{}),
		slices.Sorted(maps.Keys(want)))); d != "" {
		t.Errorf("verdicts (-want +got):\n%s", d)
	}
}

// TestProofsAgreeWithTheEngine compares with the proof that the engine asks for, of the same bytes.
func TestProofsAgreeWithTheEngine(t *testing.T) {
	image := x86.build(t, entriesSource, "-nostdlib")
	l := proven(t, image, symtab.LibraryOptions{})
	for s := range l.Symbols() {
		if s.Undefined || s.Size == 0 || !s.Dynamic {
			continue
		}
		why, ok := l.EntryProof(s.Value)
		_, err := hotpatch.Entry(image[s.Value:s.Value+s.Size], s.Value)
		switch s.Name {
		case "entered", "near", "relied": // only a look at all of the library shows it
			err = errors.New(why)
		case "short": // with what follows it
			err = nil
		case "nops": // they are not listed, so that they are judged as any other function
			err = nil
		}
		if !ok || (err == nil) != (why == "") || err != nil && !strings.Contains(err.Error(), why) {
			t.Errorf("%s: proof %q %t, engine %v", s.Name, why, ok, err)
		}
	}
}

// TestProofsWithNOPs has nothing about functions whose NOPs are listed, unless the native engine
// does not know them.
func TestProofsWithNOPs(t *testing.T) {
	image := x86.library(t)
	l := proven(t, image, symtab.LibraryOptions{})
	leaf, _ := l.Function("leaf")
	if why, ok := l.EntryProof(leaf.Value); ok || !leaf.Patchable {
		t.Errorf("leaf: %q, %t", why, ok)
	}
	image = bytes.Clone(image) // which other tests have, too
	copy(image[leaf.Value-14:], "\x66\x0f\x1f\x44\x00\x00\x0f\x1f\x80\x00\x00\x00\x00\x90")
	l = proven(t, image, symtab.LibraryOptions{})
	if leaf, _ = l.Function("leaf"); !leaf.Patchable {
		t.Error("long NOPs are not room for libpulp")
	}
	if _, ok := l.EntryProof(leaf.Value); !ok {
		t.Error("long NOPs: not judged")
	}
	for _, c := range toolchains[1:] {
		if proven(t, c.library(t), symtab.LibraryOptions{}).HasProofs() {
			t.Errorf("%s: proofs for an engine that is not for it", c.arch)
		}
	}
}

// TestProofsOfOverlappingFunctions: a hostile library does not make reading it take forever.
func TestProofsOfOverlappingFunctions(t *testing.T) {
	image := x86.build(t, `.text
.skip 64, 0xcc
.altmacro
.macro function n
	.globl f\n
	.type f\n, @function
f\n:	mov $1, %eax
	.size f\n, end - f\n
.endm
.set i, 0
.rept 4000
	function %i
	.set i, i + 1
.endr
.skip 2000, 0x90
end:	ret
.skip 64, 0xcc
.section .note.GNU-stack,"",@progbits
`, "-nostdlib")
	verdicts := map[string]int{}
	l := proven(t, image, symtab.LibraryOptions{})
	for s := range l.Symbols() {
		if why, ok := l.EntryProof(s.Value); ok && s.Dynamic {
			verdicts[why]++
		}
	}
	if verdicts[""] == 0 || verdicts["the library's code is too large to be searched for "+
		"branches into it"] == 0 || len(verdicts) != 2 {
		t.Errorf("verdicts %v", verdicts)
	}
}

// TestProofsOfManySizes: a function whose names have several sizes is proven for each, and not at
// all if they are too many.
func TestProofsOfManySizes(t *testing.T) {
	for n, want := range map[int]string{2: "", 8: "", 9: "its size is not known"} {
		text := ".text\n.skip 64, 0xcc\n"
		for i := range n {
			text += fmt.Sprintf(".globl f%[1]d\n.type f%[1]d, @function\n.set f%[1]d, start\n"+
				".size f%[1]d, %[2]d\n", i, 5+i)
		}
		l := proven(t, x86.build(t, text+"start: mov $1, %eax\n.skip 64, 0x90\n.section "+
			".note.GNU-stack,\"\",@progbits\n", "-nostdlib"), symtab.LibraryOptions{})
		f, _ := l.Function("f0")
		if why, ok := l.EntryProof(f.Value); why != want || !ok {
			t.Errorf("%d sizes: %q, %t", n, why, ok)
		}
	}
}

// TestCatalogueEntries reads what others wrote into a catalogue: other rules, and mistakes.
func TestCatalogueEntries(t *testing.T) {
	const before, after = `{"library":{"name":"l","buildid":"","arch":"x86_64","entries":`,
		`,"symbols":[]}}`
	for name, tc := range map[string]struct {
		entries string
		has     bool
		err     string
	}{
		"proofs": {`{"proof":4,"verdicts":[{"at":[1,2]},{"why":"x","at":[3]}],` +
			`"more":[1]}`, true, ""},
		"other rules": {`{"proof":3,"verdicts":[{"at":[1,2]}]}`, false, ""},
		"no rules":    {`{"verdicts":[{"at":[1,2]}]}`, false, ""},
		"no order":    {`{"proof":4,"verdicts":[{"at":[2,1]}]}`, false, "ascending"},
		"twice":       {`{"proof":4,"verdicts":[{"at":[1,1]}]}`, false, "ascending"},
		"negative":    {`{"proof":4,"verdicts":[{"at":[-1]}]}`, false, "negative"},
		"no words":    {`{"proof":4,"verdicts":[{"why":"","at":[1]}]}`, false, "200 bytes"},
		"many words": {`{"proof":4,"verdicts":[{"why":"` + strings.Repeat("x", 201) +
			`","at":[1]}]}`, false, "200 bytes"},
		"too many verdicts": {`{"proof":4,"verdicts":[` + strings.Repeat(`{"at":[]},`, 1024) +
			`{"at":[]}]}`, false, "too many"},
		"not an object":      {`[]`, false, "catalogue"},
		"entries are twice":  {`{},"entries":{}`, false, "twice"},
		"an address is text": {`{"proof":4,"verdicts":[{"at":["1"]}]}`, false, "catalogue"},
	} {
		l, err := symtab.ParseCatalogue([]byte(before + tc.entries + after))
		var format *symtab.FormatError
		switch {
		case tc.err != "" && (!errors.As(err, &format) || !strings.Contains(err.Error(), tc.err)):
			t.Errorf("%s: %v, want %q", name, err, tc.err)
		case tc.err == "" && (err != nil || l.HasProofs() != tc.has):
			t.Errorf("%s: %v", name, err)
		}
	}
	l, err := symtab.ParseCatalogue(
		[]byte(before + `{"proof":4,"verdicts":[{"at":[1]},{"why":"no","at":[1]}]}` + after))
	if err != nil {
		t.Fatal(err)
	}
	if why, ok := l.EntryProof(1); why != "no" || !ok {
		t.Errorf("of two verdicts it takes %q", why)
	}
}

// TestCheckAny accepts functions without NOPs where it is proven, and says why others are refused.
func TestCheckAny(t *testing.T) {
	lib := proven(t, x86.build(t, entriesSource, "-nostdlib"), symtab.LibraryOptions{})
	const head = "libt_livepatch1.so\n@/usr/lib64/lib.so\n"
	d := description(t, head+"plain:value_lp\nframed:value_lp\n")
	if err := ulp.Check(d, container(t), lib, symtab.EntriesAny); err != nil {
		t.Error(err)
	}
	if err := ulp.Check(d, container(t), lib, symtab.EntriesNOPs); !errors.Is(err,
		ulp.ErrNotPatchable) {
		t.Errorf("without NOPs: %v", err)
	}
	err := ulp.Check(description(t, head+"plain:value_lp\nloops:value_lp\n"), container(t), lib,
		symtab.EntriesAny)
	list, _ := errors.AsType[diag.List](err)
	if len(list) != 1 || list[0].Line != 4 || !errors.Is(list[0], ulp.ErrNotPatchable) ||
		!strings.Contains(list[0].Message, verdicts["loops"]) ||
		list[0].Hint != "10 other functions of lib.so are patchable" {
		t.Errorf("%v: %s", err, diag.Render(err, false))
	}
	plain := parseLibrary(t, x86.build(t, entriesSource, "-nostdlib"), nil)
	plain.Name = "lib.so"
	if err := ulp.Check(d, container(t), plain, symtab.EntriesAny); err == nil ||
		!strings.Contains(err.Error(), "nothing is known of its code") {
		t.Errorf("without proofs: %v", err)
	}
	other := parseLibrary(t, toolchains[2].build(t, "testdata/library.c"), nil)
	if err := ulp.Check(description(t, head+"leaf:value_lp\n"), nil, other,
		symtab.EntriesAny); err == nil || !strings.Contains(err.Error(),
		"no engine does that on aarch64") {
		t.Errorf("aarch64: %v", err)
	}
}

// TestPackEntries writes the choice into the container, and nothing if there is none.
func TestPackEntries(t *testing.T) {
	c, lib := container(t), target(t)
	nops := pack(t, good, c, lib, ulp.PackOptions{Entries: symtab.EntriesNOPs})
	if plain := pack(t, good, c, lib, ulp.PackOptions{}); string(nops.Image()) != string(
		plain.Image()) || livePatch(t, nops).Entries != "" {
		t.Errorf("nops: %q", livePatch(t, nops).Entries)
	}
	packed := pack(t, good, c, lib, ulp.PackOptions{Entries: symtab.EntriesAny})
	if p := livePatch(t, packed); p.Entries != symtab.EntriesAny ||
		!strings.Contains(p.Dump("x"), "\nentries: any") ||
		livePatch(t, nops).Metadata.PatchID != p.Metadata.PatchID {
		t.Errorf("any: %q", p.Entries)
	}
	sameSections(t, nops.Image(), packed.Image())
	if back := pack(t, good, packed, lib, ulp.PackOptions{}); livePatch(t, back).
		Entries != symtab.EntriesNOPs {
		t.Errorf("packed again: %q", livePatch(t, back).Entries)
	}
	path := writeFile(t, "p.so", packed.Image())
	run(t, "strip", path)
	if p := livePatch(t, parseContainer(t, readFile(t, path))); p.Entries != symtab.EntriesAny {
		t.Errorf("stripped: %q", p.Entries)
	}
}

// FuzzEntriesSection: whatever the section says, it is one of the words or an error.
func FuzzEntriesSection(f *testing.F) {
	image := pack(f, good, container(f), target(f), ulp.PackOptions{}).Image()
	for _, seed := range []string{"any", "nops", "", "any\x00", "all",
		strings.Repeat("any", 1000)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		changed, err := ulp.EmbedSections(image, ulp.Section{Name: ulp.SectionEntries, Data: data})
		if err != nil {
			t.Fatal(err)
		}
		p, err := parseContainer(t, changed).LivePatch()
		var format *symtab.FormatError
		switch {
		case err == nil && string(p.Entries) != string(data), err == nil &&
			p.Entries != symtab.EntriesAny && p.Entries != symtab.EntriesNOPs:
			t.Fatalf("%q is read as %q", data, p.Entries)
		case err != nil && (p != nil || !errors.As(err, &format) || len(err.Error()) > 400):
			t.Fatal(p, err)
		}
	})
}
