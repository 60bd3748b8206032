package rpmmd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/rpmmd"
)

// TestUnusual has valid documents, written in ways that could hide or invent a package named glibc.
func TestUnusual(t *testing.T) {
	glibc, other := entry("glibc"), entry("other")
	tests := map[string]struct {
		text string
		want int
	}{
		"plain": {document(2, glibc, other), 1},
		"none":  {document(0), 0},
		"empty root": {`<metadata xmlns="http://linux.duke.edu/metadata/common" ` +
			`packages="0"/>`, 0},
		"count too high":  {document(2, glibc), 1},
		"no count":        {strings.Replace(document(0, glibc), `packages="0"`, "", 1), 1},
		"byte order mark": {"\ufeff" + document(1, glibc), 1},
		"no declaration": {strings.TrimPrefix(document(1, glibc),
			`<?xml version="1.0" encoding="UTF-8"?>`), 1},
		"single quotes":   {strings.ReplaceAll(document(2, glibc, other), `"`, `'`), 1},
		"in a comment":    {document(1, "<!-- "+glibc+" -->", other), 0},
		"after a comment": {document(1, "<!-- <package> -->", glibc), 1},
		"in CDATA": {document(1, entryWith("<name>other</name><summary><![CDATA["+glibc+
			"</package>]]></summary>")), 0},
		"in an attribute": {document(1,
			entryWith(`<name>other</name><x a="></package><name>glibc</name>"/>`)), -1},
		"> in an attribute": {document(2, entryWith(`<name>other</name><x a="/>'/>" b='">'/>`),
			glibc), 1},
		"in an instruction": {document(1, "<?x "+glibc+" ?>", other), 0},
		"in other elements": {document(1, "<deltas>"+glibc+"</deltas>", other), 0},
		"nested package":    {document(1, entryWith("<name>other</name><x>"+glibc+"</x>")), 0},
		"name deeper": {document(2,
			entryWith("<name>other</name><x><name>glibc</name></x>"), glibc), 1},
		"name not first": {document(1,
			strings.Replace(glibc, "<arch>", "<arch><name>x</name></arch><arch>", 1)), 1},
		"name last": {document(1, strings.Replace(entryWith(""), "</package>",
			"<name>glibc</name></package>", 1)), 1},
		"entities":            {document(1, entry("g&#108;ib&#x63;")), 1},
		"CDATA name":          {document(1, entry("<![CDATA[glibc]]>")), 1},
		"comment in the name": {document(1, entry("gl<!-- x -->ibc")), 1},
		"instruction in it":   {document(1, entry("gl<?x?>ibc")), 1},
		"blanks in tags":      {document(1, entryWith("<name >glibc</name\n>")), 1},
		"attributes":          {document(1, entryWith(`<name a="1">glibc</name>`)), 1},
		"blank around name":   {document(1, entry(" glibc ")), 0},
		"prefix": {document(1,
			`<c:package xmlns:c="http://linux.duke.edu/metadata/common">`+inside(glibc)+
				`</c:package>`), 1},
		"prefixed name": {document(1,
			entryWith(`<c:name xmlns:c="http://linux.duke.edu/metadata/common">glibc</c:name>`)),
			1},
		"foreign package": {document(1,
			strings.Replace(glibc, "<package ", `<package xmlns="x" `, 1), other), 0},
		"foreign prefix": {document(1, `<rpm:package>`+inside(glibc)+`</rpm:package>`, other),
			0},
		"foreign names first": {document(2,
			entryWith(`<name xmlns="x">glibc</name><name>other</name>`),
			entryWith(`<x:name>other</x:name><name>glibc</name>`)), 1},
		"CRLF":           {strings.ReplaceAll(document(2, glibc, other), "\n", "\r\n"), 1},
		"after the root": {document(1, glibc) + " <!-- x --><?x?>\n", 1},
		"huge unwanted": {document(2,
			entryWith("<name>other</name><x>"+strings.Repeat("<y>z</y>", 2<<20)+"</x>"), glibc), 1},
		"huge comment":         {document(1, "<!--"+strings.Repeat("x", 1<<19)+"-->", glibc), 1},
		"beyond 2^16 packages": {document(70_001, strings.Repeat(entry("o"), 70_000), glibc), 1},
	}
	for name, tc := range tests {
		found, err := readAll(t.Context(), tc.text, "glibc")
		if tc.want < 0 {
			if !errors.Is(err, rpmmd.ErrMalformed) {
				t.Errorf("%s: %d found, %v; want ErrMalformed", name, len(found), err)
			}
			continue
		}
		if err != nil || len(found) != tc.want {
			t.Errorf("%s: %d found, %v; want %d", name, len(found), err, tc.want)
		}
		for _, p := range found {
			if p.Name != "glibc" || p.EVR.String() != "2.31-150300.9" || p.Size != 7 {
				t.Errorf("%s: %+v", name, p)
			}
		}
	}
}

// inside returns the content of a package's element.
func inside(element string) string {
	return strings.TrimSuffix(element[strings.Index(element, ">")+1:], "</package>")
}

func TestReadPrimaryErrors(t *testing.T) {
	glibc, other := entry("glibc"), entry("other")
	change := func(from, to string) string {
		return document(1, strings.Replace(glibc, from, to, 1))
	}
	tests := map[string]struct {
		text string
		want error
	}{
		"empty":      {"", io.ErrUnexpectedEOF},
		"blank":      {"     ", io.ErrUnexpectedEOF},
		"a web page": {"<!DOCTYPE html><html><body>404</body></html>", rpmmd.ErrMalformed},
		"text":       {"404 not found", rpmmd.ErrMalformed},
		"other root": {`<filelists xmlns="http://linux.duke.edu/metadata/filelists" ` +
			`packages="0"/>`, rpmmd.ErrMalformed},
		"no namespace": {`<metadata packages="0"></metadata>`, rpmmd.ErrMalformed},
		"bad root tag": {`<metadata xmlns=x></metadata>`, rpmmd.ErrMalformed},
		"too many":     {document(1, glibc, other), rpmmd.ErrMalformed},
		"no number": {strings.Replace(document(1, glibc), `"1"`, `"-1"`, 1),
			rpmmd.ErrMalformed},
		"after the root": {document(1, glibc) + "x", rpmmd.ErrMalformed},
		"second root":    {document(1, glibc) + document(1, other), rpmmd.ErrMalformed},
		"CDATA outside":  {document(1, glibc) + "<![CDATA[]]>", rpmmd.ErrMalformed},
		"document type": {`<!DOCTYPE x [<!ENTITY a "glibc">]>` + document(1, entry("&a;")),
			rpmmd.ErrMalformed},
		"unknown entity": {document(1, entry("&a;")), rpmmd.ErrMalformed},
		"wrong nesting": {document(1, "<package><name>other</name><a></package></a>"),
			rpmmd.ErrMalformed},
		"closed twice":   {document(1, other+"</package>"), rpmmd.ErrMalformed},
		"closed outside": {"<?xml version='1.0'?></a>", rpmmd.ErrMalformed},
		"< in an attribute": {document(1, `<package a="<name>">`+inside(glibc)+"</package>"),
			rpmmd.ErrMalformed},
		"open quote": {document(2, `<package a="><name>other</name></package>`, glibc),
			rpmmd.ErrMalformed},
		"tag without a name":   {document(1, "< package>", glibc), rpmmd.ErrMalformed},
		"tag with an odd name": {document(1, "<pack&age>", glibc), rpmmd.ErrMalformed},
		"long tag name": {document(1, "<"+strings.Repeat("a", 300)+">", glibc),
			rpmmd.ErrMalformed},
		"encoding": {strings.Replace(document(1, glibc), "UTF-8", "UTF-16", 1),
			rpmmd.ErrMalformed},
		"real UTF-16": {"\xff\xfe<\x00m\x00", rpmmd.ErrMalformed},
		"late declaration": {document(1, "<?xml version='1.0' encoding='utf-8'?>", glibc),
			rpmmd.ErrMalformed},
		"deep": {document(1, strings.Repeat("<a>", 100)), rpmmd.ErrTooLarge},
		"two names": {document(1, entryWith("<name>glibc</name><name>other</name>")),
			rpmmd.ErrMalformed},
		"second name": {document(1, entryWith("<name>other</name><name>glibc</name>")),
			rpmmd.ErrMalformed},
		"second, prefixed": {document(1,
			entryWith(`<name>other</name><c:name `+
				`xmlns:c="http://linux.duke.edu/metadata/common">glibc</c:name>`)),
			rpmmd.ErrMalformed},
		"no name":          {document(1, entryWith("")), rpmmd.ErrMalformed},
		"empty name":       {document(1, entryWith("<name/>")), rpmmd.ErrMalformed},
		"open, close":      {document(1, entryWith("<name></name>")), rpmmd.ErrMalformed},
		"empty package":    {document(1, "<package/>"), rpmmd.ErrMalformed},
		"not UTF-8":        {change("x86_64", "\xff"), rpmmd.ErrMalformed},
		"bad architecture": {change("<arch>x86_64", "<arch>../x"), rpmmd.ErrMalformed},
		"no architecture":  {change("<arch>x86_64</arch>", ""), rpmmd.ErrMalformed},
		"bad version":      {change("2.31", "2.31/"), rpmmd.ErrMalformed},
		"bad epoch":        {change(`epoch="0"`, `epoch="x"`), rpmmd.ErrMalformed},
		"no version":       {change("<version", "<noversion"), rpmmd.ErrMalformed},
		"weak digest":      {change("sha256", "sha1"), digest.ErrWeak},
		"bad digest":       {change("abab", "ab"), rpmmd.ErrMalformed},
		"bad size":         {change(`package="7"`, `package="-7"`), rpmmd.ErrMalformed},
		"bad build time":   {change("<size", `<time build="x"/><size`), rpmmd.ErrMalformed},
		"bad file time":    {change("<size", `<time file="x"/><size`), rpmmd.ErrMalformed},
		"location":         {change("x86_64/a", "../a"), rpmmd.ErrLocation},
		"xml:base 0": {change("<location ", `<location xml:base="../x" `),
			rpmmd.ErrLocation},
		"xml:base 1": {change("<location ", `<location xml:base="/x" `), rpmmd.ErrLocation},
		"xml:base 2": {change("<location ", `<location xml:base="http://u:p@h/x" `),
			rpmmd.ErrLocation},
		"xml:base 3": {change("<location ", `<location xml:base="http://h/x?y" `),
			rpmmd.ErrLocation},
		"xml:base 4": {change("<location ", `<location xml:base="https://h/a/../b" `),
			rpmmd.ErrLocation},
		"xml:base 5": {change("<location ", `<location xml:base="a\\b" `),
			rpmmd.ErrLocation},
		"xml:base 6": {change("<location ", `<location xml:base="plugin:/x" `),
			rpmmd.ErrLocation},
		"huge wanted": {document(1,
			entryWith("<name>glibc</name>"+strings.Repeat("<y>z</y>", 2<<20))), rpmmd.ErrTooLarge},
		"huge tag": {document(1, glibc, "<a b='"+strings.Repeat("x", 20<<20)+"'/>"),
			rpmmd.ErrTooLarge},
	}
	for name, tc := range tests {
		if _, err := readAll(t.Context(), tc.text, "glibc"); !errors.Is(err, tc.want) {
			t.Errorf("%s: error %.300v; want %v", name, err, tc.want)
		}
	}
}

// TestOddNames has names that must not become parts of file names.
func TestOddNames(t *testing.T) {
	for _, name := range []string{"../x", "a/b", ".a", "-a", "a b", "a&#10;b", "a;b", "$a",
		"a\u202eb", strings.Repeat("a", 257)} {
		if found, err := readAll(t.Context(), document(1, entry(name))); !errors.Is(err,
			rpmmd.ErrMalformed) || found != nil {
			t.Errorf("%.20q: %v, %v; want ErrMalformed", name, found, err)
		}
	}
	for _, name := range []string{"glibc", "libstdc++6", "a.b_c-1", "kernel-default"} {
		if _, err := readAll(t.Context(), document(1, entry(name))); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestTruncatedPrimary cuts a document everywhere before its end.
func TestTruncatedPrimary(t *testing.T) {
	text := strings.TrimSpace(document(2, entry("other"), "<!-- x -->", entry("g<![CDATA[li]]>bc")))
	for n := range len(text) {
		if _, err := readAll(t.Context(), text[:n], "glibc"); !errors.Is(err, rpmmd.ErrMalformed) ||
			!errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d of %d bytes: error %v, want ErrMalformed and io.ErrUnexpectedEOF", n,
				len(text), err)
		}
	}
}

// TestPieces reads input in awkward pieces, so that everything falls on the edge of a read.
func TestPieces(t *testing.T) {
	text := document(3, entry("other"), "<!-- -- ]]> -->", entry("g<![CDATA[li]]>bc"), "<?x ?>",
		entry("glibc"))
	want, err := readAll(t.Context(), text, "glibc")
	if err != nil || len(want) != 2 {
		t.Fatal(want, err)
	}
	for name, r := range map[string]io.Reader{
		"bytes":         iotest.OneByteReader(strings.NewReader(text)),
		"halves":        iotest.HalfReader(strings.NewReader(text)),
		"EOF with data": iotest.DataErrReader(strings.NewReader(text)),
	} {
		var got []rpmmd.Package
		err := rpmmd.ReadPrimary(t.Context(), r, wanted([]string{"glibc"}),
			func(p rpmmd.Package) error { got = append(got, p); return nil })
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, d)
		}
	}
}

// TestOthersErrors passes on the errors of the reader, the callback and the context.
func TestOthersErrors(t *testing.T) {
	broken := errors.New("broken")
	text := document(1, entry("glibc"))
	none := func(rpmmd.Package) error { return nil }
	for _, n := range []int{0, 100, len(text)} {
		r := io.MultiReader(strings.NewReader(text[:n]), iotest.ErrReader(broken))
		if err := rpmmd.ReadPrimary(t.Context(), r, nil, none); !errors.Is(err, broken) ||
			errors.Is(err, rpmmd.ErrMalformed) {
			t.Errorf("reader fails after %d bytes: %v", n, err)
		}
	}
	if err := rpmmd.ReadPrimary(t.Context(), strings.NewReader(text), nil,
		func(rpmmd.Package) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("callback fails: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(broken)
	if err := rpmmd.ReadPrimary(ctx, strings.NewReader(text), nil, none); !errors.Is(err, broken) {
		t.Errorf("cancelled: %v", err)
	}
	if err := rpmmd.ReadPrimary(t.Context(), idle{}, nil, none); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("idle reader: %v", err)
	}
}

// idle is a reader that makes no progress.
type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

// TestMemory reads 30 MB in a process of its own, as the benchmark does with 900 MB.
func TestMemory(t *testing.T) {
	args, want := generatePrimary(t, 30_000_000)
	packages, kib := readInChild(t, args)
	if packages != want || kib > 64<<10 {
		t.Errorf("%d packages in %d KiB; want %d in less than 65536", packages, kib, want)
	}
}

func ExampleReadPrimary() {
	text := document(2, entry("bash"), entry("glibc"))
	isGlibc := func(name string) bool { return name == "glibc" }
	err := rpmmd.ReadPrimary(context.Background(), bytes.NewReader([]byte(text)), isGlibc,
		func(p rpmmd.Package) error {
			fmt.Println(p.Name, p.EVR, p.Location)
			return nil
		})
	fmt.Println(err)
	// Output:
	// glibc 2.31-150300.9 x86_64/a.rpm
	// <nil>
}

// TestReadPrimaryStops stops at the first package beyond the announced number, however many follow.
func TestReadPrimaryStops(t *testing.T) {
	endless := &repeated{first: strings.Replace(document(1), "</metadata>", "", 1),
		again: entry("glibc") + entry("other")}
	met := 0
	err := rpmmd.ReadPrimary(t.Context(), endless, nil,
		func(rpmmd.Package) error { met++; return nil })
	if !errors.Is(err, rpmmd.ErrMalformed) || met != 1 || endless.given > 2<<20 {
		t.Errorf("error %v after %d packages and %d bytes", err, met, endless.given)
	}
}

// TestReadPrimaryBlank gives up if endless blanks, text or comments follow.
func TestReadPrimaryBlank(t *testing.T) {
	start := strings.Replace(document(1), "</metadata>", "", 1)
	for name, r := range map[string]*repeated{
		"blanks":           {first: start, again: "    \n"},
		"before the root":  {first: "", again: "    \n"},
		"after the root":   {first: document(1, entry("other")), again: " "},
		"text":             {first: start, again: "text"},
		"comments":         {first: start, again: "<!-- nothing -->"},
		"instructions":     {first: start, again: "<?nothing?>"},
		"parts of a CDATA": {first: start, again: "<![CDATA[ ]]>"},
		"one long comment": {first: start + "<!--", again: " nothing "},
	} {
		err := rpmmd.ReadPrimary(t.Context(), r, nil, func(rpmmd.Package) error { return nil })
		if !errors.Is(err, rpmmd.ErrTooLarge) || r.given > 4<<20 {
			t.Errorf("%s: error %v after %d bytes", name, err, r.given)
		}
	}
	if _, err := readAll(t.Context(), strings.Replace(document(1, entry("glibc")), "<package",
		strings.Repeat(" ", 1<<19)+"<package", 1)); err != nil {
		t.Errorf("with half a megabyte: %v", err)
	}
}

// repeated is one text, followed by another one again and again, up to 64 MiB.
type repeated struct {
	first, again string
	given        int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.given > 64<<20 {
		return 0, io.EOF
	}
	text := r.again
	if r.given == 0 && r.first != "" {
		text = r.first
	}
	n := copy(p, text)
	for text == r.again && n+len(text) <= len(p) {
		n += copy(p[n:], text)
	}
	if text == r.first && n < len(text) {
		panic("the buffer is too small")
	}
	r.given += n
	return n, nil
}
