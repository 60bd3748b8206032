package ulp_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// pack packs the description text into the container and opens the result.
func pack(t testing.TB, text string, c *ulp.Container, lib *symtab.Library,
	o ulp.PackOptions) *ulp.Container {
	t.Helper()
	image, err := ulp.Pack(description(t, text), []byte(text), c, lib, o)
	if err != nil {
		t.Fatal(diag.Render(err, false))
	}
	packed, err := ulp.ParseContainer(image)
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

func section(t *testing.T, c *ulp.Container, name string) []byte {
	t.Helper()
	data, ok := c.Section(name)
	if !ok {
		t.Fatalf("no section %s", name)
	}
	return data
}

func valueOf(t *testing.T, l *symtab.Library, name string) uint64 {
	t.Helper()
	s, ok := l.Lookup(name)
	if !ok {
		t.Fatalf("no symbol %s", name)
	}
	return s.Value
}

func TestPack(t *testing.T) {
	lib, c := target(t), container(t)
	before := bytes.Clone(c.Image())
	packed := pack(t, good, c, lib, ulp.PackOptions{})
	if !bytes.Equal(before, c.Image()) {
		t.Error("the container's image was changed")
	}
	got, err := ulp.ParseMetadata(section(t, packed, ulp.SectionMetadata))
	if err != nil {
		t.Fatal(err)
	}
	in, at := func(name string) uint64 {
		return valueOf(t, lib, name)
	}, func(name string) uint64 { return valueOf(t, &c.Library, name) }
	want := &ulp.Metadata{
		Target: ulp.Target{BuildID: lib.BuildID, Name: "libt.so"},
		Functions: []ulp.Function{
			{Old: "value", New: "value_lp", OldValue: in("value")},
			{Old: "other", New: "other_lp", OldValue: in("other")},
			{Old: "second", New: "value_lp", OldValue: in("second")},
			{Old: "inner", New: "other_lp", OldValue: in("inner")},
		},
		References: []ulp.DataRef{
			{Target: "tl", Reference: "ulpr_tl", TargetOffset: in("tl"), PatchOffset: at("ulpr_tl"),
				TLS: true},
			{Target: "other", Reference: "ulpr_static", TargetOffset: in("other"),
				PatchOffset: at("ulpr_static")},
			{Target: "shared", Reference: "ulpr_shared", TargetOffset: in("shared"),
				PatchOffset: at("ulpr_shared")},
			{Target: "counter", Reference: "ulpr_counter", TargetOffset: in("counter"),
				PatchOffset: at("ulpr_counter")},
		},
	}
	copy(want.PatchID[:16], c.BuildID)
	md4, _ := hex.DecodeString("02bacf21ffdef64d02c13b0243d3f97e") // as openssl dgst -md4 has it
	copy(want.PatchID[16:], md4)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf(".ulp (-want +got):\n%s", d)
	}
	reverse, err := ulp.ParseReverse(section(t, packed, ulp.SectionReverse))
	if d := cmp.Diff(&ulp.Metadata{PatchID: want.PatchID, Target: want.Target},
		reverse); err != nil || d != "" {
		t.Errorf(".ulp.rev: %v (-want +got):\n%s", err, d)
	}
	if got := section(t, packed, ulp.SectionComments); string(got) != " bsc#1\n\x00" {
		t.Errorf(".ulp.comments: %q", got)
	}
}

// Packing again replaces; the result does not depend on what was packed before.
func TestPackAgain(t *testing.T) {
	lib, c := target(t), container(t)
	once := pack(t, good, c, lib, ulp.PackOptions{})
	twice := pack(t, good, once, lib, ulp.PackOptions{})
	if !bytes.Equal(once.Image(), twice.Image()) {
		t.Error("packing the same again changes the file")
	}
	other := pack(t, "!longer comment\n"+head+"value:value_lp\n", once, lib, ulp.PackOptions{})
	back := pack(t, good, other, lib, ulp.PackOptions{})
	sections := run(t, "readelf", "-SW", writeFile(t, "packed.so", back.Image()))
	for _, name := range []string{ulp.SectionMetadata, ulp.SectionReverse, ulp.SectionComments} {
		if !bytes.Equal(section(t, once, name), section(t, back, name)) {
			t.Errorf("%s differs after another description was packed", name)
		}
		if n := strings.Count(sections, " "+name+" "); n != 1 {
			t.Errorf("%d sections %s", n, name)
		}
	}
}

func TestPackComments(t *testing.T) {
	lib, c := target(t), container(t)
	for what, tc := range map[string]struct {
		text, first, all string
	}{
		"one":                   {"!CVE-1\n" + head, "CVE-1\n\x00", "CVE-1\n\x00"},
		"several":               {"! a\n!b\n" + head + "!c\n", " a\n\x00", " a\nb\nc\n\x00"},
		"behind the items":      {head + "value:value_lp\n! a\n", " a\n\x00", " a\n\x00"},
		"without a line end":    {head + "! a", " a\x00", " a\x00"},
		"empty":                 {"!\n" + head, "\n\x00", "\n\x00"},
		"empty, without an end": {head + "!", "\x00", "\x00"},
		"CRLF":                  {"!a\r\n" + head, "a\r\n\x00", "a\r\n\x00"},
		"mark inside a comment": {"!!a\n" + head, "!a\n\x00", "!a\n\x00"},
	} {
		if got := section(t, pack(t, tc.text, c, lib, ulp.PackOptions{Force: true}),
			ulp.SectionComments); string(got) != tc.first {
			t.Errorf("%s: %q, want %q", what, got, tc.first)
		}
		if got := section(t,
			pack(t, tc.text, c, lib, ulp.PackOptions{AllComments: true, Force: true}),
			ulp.SectionComments); string(got) != tc.all {
			t.Errorf("%s, all: %q, want %q", what, got, tc.all)
		}
	}
	none := pack(t, head+line, c, lib, ulp.PackOptions{})
	if got, ok := none.Section(ulp.SectionComments); ok {
		t.Errorf("no comments, but a section: %q", got)
	}
	stale := pack(t, head+line, pack(t, "!old\n"+head+line, c, lib, ulp.PackOptions{}), lib,
		ulp.PackOptions{})
	if got := section(t, stale, ulp.SectionComments); len(got) != 0 {
		t.Errorf("comments of the former description are left: %q", got)
	}
}

// The patch id tells apart what differs in one byte of a comment.
func TestPackPatchID(t *testing.T) {
	lib, c := target(t), container(t)
	d := description(t, head+line)
	id := func(text []byte) [32]byte {
		m, err := ulp.NewMetadata(d, text, c, lib, ulp.PackOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return m.PatchID
	}
	a, b := id([]byte(head)), id([]byte(head+"!"))
	if a == b || !bytes.Equal(a[:16], c.BuildID[:16]) || !bytes.Equal(b[:16], c.BuildID[:16]) {
		t.Errorf("%x, %x", a, b)
	}
	// MD4 of no bytes and of "abc", from RFC 1320.
	for text, want := range map[string]string{"": "31d6cfe0d16ae931b73c59d7e0c089c0",
		"abc": "a448017aaf21d8525fc10ae87aa6729d"} {
		if got := id([]byte(text)); hex.EncodeToString(got[16:]) != want {
			t.Errorf("MD4 of %q: %x", text, got[16:])
		}
	}
	nothing, err := ulp.Pack(d, nil, c, lib, ulp.PackOptions{})
	if err != nil {
		t.Fatal(err)
	}
	canonical, err := ulp.Pack(d, []byte(d.String()), c, lib, ulp.PackOptions{})
	if err != nil || !bytes.Equal(nothing, canonical) {
		t.Errorf("without a text it is not the canonical one: %v", err)
	}
}

// The symbols may come from the library, from our catalogue or from libpulp's: the result is the
// same.
func TestPackFromCatalogue(t *testing.T) {
	lib, c := target(t), container(t)
	want := pack(t, good, c, lib, ulp.PackOptions{})
	ours, err := symtab.ParseCatalogue(lib.AppendCatalogue(nil))
	if err != nil {
		t.Fatal(err)
	}
	for what, l := range map[string]*symtab.Library{"ours": ours,
		"libpulp's": libpulpCatalogue(t, lib)} {
		if got := pack(t, good, c, l, ulp.PackOptions{}); !bytes.Equal(got.Image(), want.Image()) {
			t.Errorf("%s: the image differs", what)
		}
	}
}

func TestPackChecks(t *testing.T) {
	text := head + "bare:value_lp\nvalue:value_lp\nvalue:hidden_lp\ncopy:other_lp\n" +
		"#%counter:ulpr_small\n"
	lib, c := target(t), container(t)
	image, err := ulp.Pack(description(t, text), []byte(text), c, lib, ulp.PackOptions{})
	for _, want := range []error{ulp.ErrNotPatchable, ulp.ErrDuplicate, ulp.ErrNotExported,
		ulp.ErrIFUNC, ulp.ErrTLS} {
		if image != nil || !errors.Is(err, want) {
			t.Errorf("no %v in %v", want, err)
		}
	}
	m, err := ulp.ParseMetadata(section(t, pack(t, text, c, lib, ulp.PackOptions{Force: true}),
		ulp.SectionMetadata))
	if err != nil || len(m.Functions) != 4 || !m.References[0].TLS ||
		m.References[0].TargetOffset != valueOf(t, lib, "counter") {
		t.Errorf("forced: %+v, %v", m, err)
	}
}

// libpulp's packer looks neither at architectures nor at what the description calls the target, nor
// for NOPs: forced, neither does this one, and writes what the symbols say.
func TestPackForceFiles(t *testing.T) {
	lib, c := target(t), container(t)
	text := head + "value:value_lp\n"
	other := "libt_livepatch1.so\n@/lib64/libm.so.6\nvalue:value_lp\n"
	bare := target(t, "-fpatchable-function-entry=0")
	for what, tc := range map[string]struct {
		text string
		c    *ulp.Container
		lib  *symtab.Library
		err  error
	}{
		"architecture":      {text, foreignContainer(t), lib, ulp.ErrArch},
		"other target":      {other, c, lib, ulp.ErrTarget},
		"not livepatchable": {text, c, bare, ulp.ErrNotPatchable},
	} {
		d := description(t, tc.text)
		if image, err := ulp.Pack(d, nil, tc.c, tc.lib, ulp.PackOptions{}); image != nil ||
			!errors.Is(err, tc.err) {
			t.Errorf("%s: %v", what, err)
		}
		m, err := ulp.ParseMetadata(
			section(t, pack(t, tc.text, tc.c, tc.lib, ulp.PackOptions{Force: true}),
				ulp.SectionMetadata))
		want := []ulp.Function{{Old: "value", New: "value_lp",
			OldValue: valueOf(t, tc.lib, "value")}}
		if err != nil || !cmp.Equal(m.Functions, want) || m.Target.Name != "libt.so" {
			t.Errorf("%s, forced: %+v, %v", what, m, err)
		}
	}
}

// What is missing cannot be forced.
func TestPackForceCannot(t *testing.T) {
	lib, c := target(t), container(t)
	for what, tc := range map[string]struct {
		lines string
		c     *ulp.Container
		lib   *symtab.Library
		err   error
		want  string
	}{
		"function": {"valu:value_lp", c, lib, ulp.ErrNoSymbol,
			`x.dsc:3:1: error: symbol "valu" is not in libt.so`},
		"replacement": {"value:value_pl", c, lib, ulp.ErrNoSymbol,
			`x.dsc:3:7: error: symbol "value_pl" is not in libt_livepatch1.so`},
		"variable": {"#countre:ulpr_counter", c, lib, ulp.ErrNoSymbol,
			`x.dsc:3:2: error: symbol "countre" is not in libt.so`},
		"pointer": {"#counter:ulpr_countre", c, lib, ulp.ErrNoSymbol,
			`x.dsc:3:10: error: symbol "ulpr_countre" is not in libt_livepatch1.so`},
		"variable of offset 0": {"#gone:ulpr_counter:0:4", c, lib, ulp.ErrNoSymbol,
			`x.dsc:3:2: error: symbol "gone" is not in libt.so`},
		"build-id of the container": {"value:value_lp", container(t, "-Wl,--build-id=none"), lib,
			ulp.ErrNoBuildID, "x.dsc:1:1: error: libt_livepatch1.so has no build-id"},
		"build-id of the target": {"value:value_lp", c, target(t, "-Wl,--build-id=none"),
			ulp.ErrNoBuildID, "x.dsc:2:2: error: libt.so has no build-id"},
	} {
		text := head + tc.lines + "\n"
		image, err := ulp.Pack(description(t, text), []byte(text), tc.c, tc.lib,
			ulp.PackOptions{Force: true})
		if image != nil || err == nil || !errors.Is(err, tc.err) || err.Error() != tc.want {
			t.Errorf("%s: %v\nwant %s", what, err, tc.want)
		}
	}
}

// Offsets given by hand are taken as they are, also if they are wrong; 0 means that the target's is
// looked up.
func TestPackExplicitOffsets(t *testing.T) {
	lib, c := target(t), container(t)
	text := head + "#gone:unknown:1234:5678\n#counter:ulpr_counter:0:0\n#%tl:ulpr_tl:77:88\n"
	m, err := ulp.NewMetadata(description(t, text), []byte(text), c, lib,
		ulp.PackOptions{Force: true})
	if err != nil {
		t.Fatal(err)
	}
	want := []ulp.DataRef{
		{Target: "tl", Reference: "ulpr_tl", TargetOffset: 0x77, PatchOffset: 0x88, TLS: true},
		{Target: "counter", Reference: "ulpr_counter", TargetOffset: valueOf(t, lib, "counter")},
		{Target: "gone", Reference: "unknown", TargetOffset: 0x1234, PatchOffset: 0x5678},
	}
	if d := cmp.Diff(want, m.References); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestPackTooLarge(t *testing.T) {
	lib, c := target(t), container(t)
	name := strings.Repeat("n", 30)
	var b strings.Builder
	b.WriteString(head + line)
	for i := range 9_000 {
		fmt.Fprintf(&b, "#%s:%s%d:1234:%x\n", name, name, i, valueOf(t, &c.Library, "ulpr_counter"))
	}
	d := description(t, b.String())
	if image, err := ulp.Pack(d, nil, c, lib, ulp.PackOptions{}); image != nil ||
		!errors.Is(err, ulp.ErrTooLarge) {
		t.Errorf("%v", err)
	}
	if _, err := ulp.Pack(d, nil, c, lib, ulp.PackOptions{Force: true}); err != nil {
		t.Errorf("forced: %v", err)
	}
}

func BenchmarkPack(b *testing.B) {
	lib, c := target(b), container(b)
	d := description(b, good)
	text := []byte(good)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ulp.Pack(d, text, c, lib, ulp.PackOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
