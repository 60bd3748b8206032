package ulp_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// golden is the live patch of TestPackGolden.
func golden(t *testing.T) *ulp.Container {
	t.Helper()
	lib, err := symtab.OpenLibrary("testdata/pack/libsmall.so.1.json", symtab.LibraryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := parseContainer(t, readFile(t, "testdata/pack/libsmall_livepatch1.so"))
	return pack(t, string(readFile(t, "testdata/pack/libsmall_livepatch1.dsc")), c, lib,
		ulp.PackOptions{})
}

func livePatch(t *testing.T, c *ulp.Container) *ulp.LivePatch {
	t.Helper()
	p, err := c.LivePatch()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLivePatch(t *testing.T) {
	c := golden(t)
	metadata, err := ulp.ParseMetadata(section(t, c, ulp.SectionMetadata))
	if err != nil {
		t.Fatal(err)
	}
	want := &ulp.LivePatch{
		BuildID: c.BuildID, Arch: symtab.X86_64, Metadata: metadata,
		Reverse:  &ulp.Metadata{PatchID: metadata.PatchID, Target: metadata.Target},
		Comments: " bsc#1222992, CVE-2024-2961: a comment that is embedded\n",
	}
	p := livePatch(t, c)
	if d := cmp.Diff(want, p); d != "" {
		t.Errorf("live patch (-want +got):\n%s", d)
	}
	if err := p.Consistent(); err != nil {
		t.Error(err)
	}
}

// The labels in golden.dump and their order are those of `ulp dump` of libpulp 0.3.17, so that
// scripts which look for them go on working. Ours are the second half of the patch id, target_name,
// the true patch_offset (libpulp repeats the target's) and what stands between the references and
// the comments.
func TestDump(t *testing.T) {
	p := livePatch(t, golden(t))
	want := string(readFile(t, "testdata/pack/golden.dump"))
	if d := cmp.Diff(want, p.Dump("/x/libsmall_livepatch1.so")); d != "" {
		t.Errorf("dump (-want +got):\n%s", d)
	}
	head, _, _ := strings.Cut(want, "* units")
	if d := cmp.Diff(head+"* units: 0\n\nstatic references: 0\n",
		p.DumpReverse("/x/libsmall_livepatch1.so")); d != "" {
		t.Errorf("dump of the reverse patch (-want +got):\n%s", d)
	}
}

// A container from elsewhere may hold any names. They neither make lines of their own nor steer the
// terminal.
func TestDumpHostile(t *testing.T) {
	const bad = "a\n* name: b\x1b[2J\tc\x80"
	p := &ulp.LivePatch{Metadata: &ulp.Metadata{
		Target:       ulp.Target{Name: bad},
		Functions:    []ulp.Function{{Old: bad, New: bad}},
		References:   []ulp.DataRef{{Target: bad, Reference: bad}},
		Dependencies: [][32]byte{{1}},
	}, Reverse: &ulp.Metadata{Target: ulp.Target{Name: bad}}, Comments: "x\x1b[0m\n"}
	out := p.Dump(bad) + p.DumpReverse(bad)
	if strings.ContainsAny(out, "\x1b\t") || !utf8.ValidString(out) ||
		strings.Count(out, "\n* name: ") != 2 {
		t.Errorf("dump:\n%q", out)
	}
	if want := "dependencies: 1\n*** patch id: 0100"; !strings.Contains(out, want) {
		t.Errorf("no %q in\n%s", want, out)
	}
}

func TestLivePatchConsistent(t *testing.T) {
	tests := map[string]struct {
		change func(*ulp.LivePatch)
		want   string
	}{
		"other build-id": {func(p *ulp.LivePatch) { p.BuildID = bytes.Repeat([]byte{1}, 20) },
			"the patch id is not of a container with build-id 0101"},
		"no build-id": {func(p *ulp.LivePatch) { p.BuildID = nil }, "build-id none"},
		"no reverse":  {func(p *ulp.LivePatch) { p.Reverse = nil }, "no section .ulp.rev"},
		"other reverse": {func(p *ulp.LivePatch) { p.Reverse.PatchID[31]++ },
			"of another live patch"},
		"other reverse target": {func(p *ulp.LivePatch) { p.Reverse.Target.Name = "libc.so.6" },
			"for another target"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := livePatch(t, golden(t))
			tc.change(p)
			if err := p.Consistent(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("%v, want %q", err, tc.want)
			}
			if out := p.Dump("x.so"); !strings.Contains(out, "\nwarning: ") ||
				!strings.Contains(out, tc.want) {
				t.Errorf("no warning in\n%s", out)
			}
		})
	}
}

func TestLivePatchRefuses(t *testing.T) {
	packed := golden(t)
	with := func(name string, data []byte) *ulp.Container {
		return parseContainer(t, embed(t, packed.Image(), ulp.Section{Name: name, Data: data}))
	}
	if p, err := parseContainer(t, x86.library(t)).LivePatch(); p != nil ||
		!errors.Is(err, ulp.ErrNotPacked) {
		t.Errorf("not packed: %v, %v", p, err)
	}
	for _, name := range []string{ulp.SectionMetadata, ulp.SectionReverse} {
		data := section(t, packed, name)
		for n := range data {
			p, err := with(name, data[:n]).LivePatch()
			if p != nil || !isFormatError(err) ||
				!strings.Contains(err.Error(), "section "+name+": ") {
				t.Fatalf("%d bytes of %s: %v, %v", n, name, p, err)
			}
		}
	}
	none := livePatch(t, with(ulp.SectionComments, nil))
	if none.Comments != "" || strings.Contains(none.Dump("x.so"), "comments") {
		t.Errorf("comments %q", none.Comments)
	}
}
