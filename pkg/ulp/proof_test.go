package ulp_test

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// packFor compiles the small target and the small live patch for an architecture, with debugging
// information, and packs it. Without flags the numbers of NOPs are those that the toolchain can
// make.
func packFor(t testing.TB, c toolchain) (before []byte, after *ulp.Container) {
	t.Helper()
	nops := "-fpatchable-function-entry=" + c.nops
	lib, err := symtab.ParseLibrary(c.build(t, "testdata/pack/target.c", nops, "-nostdlib"), nil,
		"libsmall.so.1")
	if err != nil {
		t.Fatal(err)
	}
	before = c.build(t, "testdata/pack/livepatch.c", nops, "-nostdlib", "-g")
	text := strings.Replace(string(readFile(t, "testdata/pack/libsmall_livepatch1.dsc")), ".json",
		"", 1)
	image, err := ulp.Pack(description(t, text), []byte(text), parseContainer(t, before), lib,
		ulp.PackOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return before, parseContainer(t, image)
}

// What TestEmbedChangesNothingElse proves for any sections, with a real live patch.
func TestPackedChangesNothingElse(t *testing.T) {
	for _, c := range toolchains {
		t.Run(string(c.arch), func(t *testing.T) {
			image, packed := packFor(t, c)
			before, after := writeFile(t, "p.so", image), writeFile(t, "p.so", packed.Image())
			if d := cmp.Diff(readelfWithoutMoved(t, before),
				readelfWithoutMoved(t, after)); d != "" {
				t.Errorf("readelf -aW (-before +after):\n%s", d)
			}
			if a, b := run(t, "readelf", "-wiW", before), run(t, "readelf", "-wiW", after); a != b {
				t.Error("readelf -wi shows other debugging information")
			}
			lintBefore, _ := output("eu-elflint", "--gnu-ld", before)
			lintAfter, _ := output("eu-elflint", "--gnu-ld", after)
			if d := cmp.Diff(lintBefore, lintAfter); d != "" {
				t.Errorf("eu-elflint --gnu-ld (-before +after):\n%s", d)
			}
			if out := run(t, c.program("objdump"), "-d",
				after); !strings.Contains(out, "<next_lp>:") {
				t.Errorf("objdump -d:\n%s", out)
			}
			sameSections(t, image, packed.Image())
		})
	}
}

// The live patch says the same of itself after strip and strip -g, and can still be packed again.
func TestPackedSurvivesStrip(t *testing.T) {
	for _, c := range toolchains {
		_, packed := packFor(t, c)
		want := livePatch(t, packed)
		if err := want.Consistent(); err != nil || want.Arch != c.arch || want.Comments == "" {
			t.Fatalf("%s: %v, comments %q", want.Arch, err, want.Comments)
		}
		for _, flags := range [][]string{{"-g"}, {}} {
			out := writeFile(t, "p.so", packed.Image())
			run(t, c.program("strip"), append(flags, out)...)
			stripped := readFile(t, out)
			if len(stripped) >= len(packed.Image()) {
				t.Errorf("%s: strip %v did nothing", c.arch, flags)
			}
			if d := cmp.Diff(want, livePatch(t, parseContainer(t, stripped))); d != "" {
				t.Errorf("%s, after strip %v (-before +after):\n%s", c.arch, flags, d)
			}
			for _, name := range []string{ulp.SectionMetadata, ulp.SectionReverse,
				ulp.SectionComments} {
				if !bytes.Equal(section(t, packed, name),
					section(t, parseContainer(t, stripped), name)) {
					t.Errorf("%s: section %s is another one after strip %v", c.arch, name, flags)
				}
			}
		}
	}
}

// gdb says the same of a container before and after. For other architectures than its own it knows
// lines and symbols, and takes the bytes for code of its own.
func TestDebuggerListsPacked(t *testing.T) {
	for _, c := range toolchains {
		image, packed := packFor(t, c)
		ask := func(image []byte) string {
			return run(t, "gdb", "-nx", "-batch", "-ex", "list next_lp", "-ex", "info line next_lp",
				"-ex", "disassemble next_lp", "-ex", "info symbol next_lp", "-ex", "info types ulp",
				"-ex", "maintenance info sections .text", writeFile(t, "p.so", image))
		}
		before, after := ask(image), ask(packed.Image())
		for _, want := range []string{"int next_lp(void)",
			"Dump of assembler code for function next_lp", "in section .text"} {
			if !strings.Contains(after, want) {
				t.Errorf("%s: gdb does not say %q:\n%s", c.arch, want, after)
			}
		}
		path := regexp.MustCompile(`/\S*/p\.so`)
		if d := cmp.Diff(path.ReplaceAllString(before, "p.so"),
			path.ReplaceAllString(after, "p.so")); d != "" {
			t.Errorf("%s: gdb (-before +after):\n%s", c.arch, d)
		}
	}
}
