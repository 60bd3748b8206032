package ulp_test

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"os/exec"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

func merge(t testing.TB, image []byte) *ulp.MergeResult {
	t.Helper()
	before := bytes.Clone(image)
	m, err := ulp.MergeNOPs(image)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, image) {
		t.Error("MergeNOPs changed its input")
	}
	return m
}

// changed returns the names of the functions at whose entry, or after endbr64 there, 90 90 became
// 66 90. Any other change fails the test.
func changed(t *testing.T, before, after []byte) []string {
	t.Helper()
	if len(before) != len(after) {
		t.Fatalf("%d bytes became %d", len(before), len(after))
	}
	at := map[uint64]string{} // the linker's first segments have equal offsets and addresses
	for s := range parseLibrary(t, before, nil).Symbols() {
		if s.Type() == elf.STT_FUNC && !s.Undefined {
			at[s.Value] = s.Name
		}
	}
	var names []string
	for i := range before {
		if before[i] == after[i] {
			continue
		}
		name := at[uint64(i)]
		if name == "" && bytes.HasSuffix(before[:i], []byte{0xf3, 0x0f, 0x1e, 0xfa}) {
			name = at[uint64(i-4)]
		}
		if name == "" || !bytes.HasPrefix(before[i:], []byte{0x90, 0x90}) ||
			!bytes.HasPrefix(after[i:], []byte{0x66, 0x90}) {
			t.Errorf("byte %#x was %#x, is %#x; it belongs to %q", i, before[i], after[i], name)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func TestMergeNOPs(t *testing.T) {
	all := []string{"calls_absent", "calls_hidden", "exported", "hidden", "leaf"}
	stripped, _ := x86.strip(t, x86.library(t))
	tests := map[string]struct {
		image  []byte
		want   []string
		others int
	}{
		"plain":      {x86.library(t), all, 1}, // few_nops is listed, too
		"endbr64":    {x86.library(t, "-fcf-protection=full"), all, 1},
		"RELR":       {x86.library(t, "-Wl,-z,pack-relative-relocs"), all, 1},
		"debug info": {x86.library(t, "-g"), all, 1},
		// The table alone does not tell that a function begins there.
		"stripped": {stripped, []string{"calls_absent", "calls_hidden", "exported", "leaf"}, 2},
		"other places": {x86.build(t, "testdata/library.c", "-fpatchable-function-entry=2,0"), nil,
			6},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			m := merge(t, tc.image)
			if d := cmp.Diff(tc.want, changed(t, tc.image, m.Image)); d != "" {
				t.Errorf("changed functions (-want +got):\n%s", d)
			}
			if m.Merged != len(tc.want) || m.Already != 0 || m.Others != tc.others {
				t.Errorf("%d merged, %d already, %d others", m.Merged, m.Already, m.Others)
			}
			again := merge(t, m.Image)
			if !bytes.Equal(m.Image, again.Image) || again.Merged != 0 ||
				again.Already != len(tc.want) || again.Others != tc.others {
				t.Errorf("again: %d merged, %d already, %d others", again.Merged, again.Already,
					again.Others)
			}
			if d := cmp.Diff(patchable(t, tc.image), patchable(t, m.Image)); d != "" {
				t.Errorf("patchable functions (-before +after):\n%s", d)
			}
		})
	}
}

// The digest is that of what libpulp 0.3.17 makes of the same file.
func TestMergeNOPsGolden(t *testing.T) {
	m := merge(t, readFile(t, "testdata/pack/libsmall_livepatch1.so"))
	sum := sha256.Sum256(m.Image)
	if got := hex.EncodeToString(sum[:]); got !=
		"0a7294a0cf164e89b7f7a3cbe4f1bf5835763a773b698cbc1f8b4231031ca3e1" || m.Merged != 2 {
		t.Errorf("digest %s, %d merged", got, m.Merged)
	}
}

// What is not two NOPs is not touched, whatever the table says.
func TestMergeNOPsOnlyNOPs(t *testing.T) {
	image := x86.library(t)
	leaf, _ := parseLibrary(t, image, nil).Lookup("leaf")
	for name, code := range map[string]string{"patched": "\xeb\xf0", "one NOP": "\x90\xc3",
		"code": "\xc3\x90", "other prefix": "\xf3\x90"} {
		other := change(image, func(b []byte) { copy(b[leaf.Value:], code) })
		m := merge(t, other)
		if got := changed(t, other, m.Image); slices.Contains(got, "leaf") || m.Merged != 4 ||
			m.Others != 2 {
			t.Errorf("%s: changed are %q, %d others", name, got, m.Others)
		}
	}
}

func TestMergeNOPsOtherArchitectures(t *testing.T) {
	for _, c := range toolchains[1:] {
		image := c.library(t)
		if m := merge(t, image); !bytes.Equal(image, m.Image) || m.Merged+m.Already+m.Others != 0 {
			t.Errorf("%s: %d merged, %d already, %d others", c.arch, m.Merged, m.Already, m.Others)
		}
	}
}

func TestMergeNOPsRefuses(t *testing.T) {
	if m, err := ulp.MergeNOPs(x86.build(t, "testdata/pack/target.c")); m != nil ||
		!errors.Is(err, ulp.ErrNotPatchable) {
		t.Errorf("without the table: result %t, error %v", m != nil, err)
	}
	image := x86.library(t)
	for name, tc := range map[string][]byte{
		"not ELF": []byte("not ELF at all, but long enough for a header, which has 64 " +
			"bytes"),
		"truncated":          image[:len(image)-1],
		"other machine":      change(image, func(b []byte) { b[18] = 3 }),
		"segment beyond end": change(image, func(b []byte) { b[64+32+7] = 1 }),
	} {
		if m, err := ulp.MergeNOPs(tc); m != nil || !isFormatError(err) {
			t.Errorf("%s: result %t, error %v", name, m != nil, err)
		}
	}
}

func TestMergedRuns(t *testing.T) {
	path := writeFile(t, "lib.so", merge(t, x86.library(t, "-fcf-protection=full")).Image)
	cmd := exec.Command("/bin/true")
	cmd.Env = []string{"LD_PRELOAD=" + path}
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("with LD_PRELOAD: %v\n%s", err, out)
	}
}

func FuzzMergeNOPs(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, image []byte) {
		m, err := ulp.MergeNOPs(image)
		if err != nil {
			if m != nil || !isFormatError(err) && !errors.Is(err, ulp.ErrNotPatchable) {
				t.Fatalf("result %t, error %v", m != nil, err)
			}
			return
		}
		n := 0
		for i, was := range image {
			if is := m.Image[i]; was != is {
				n++
				if was != 0x90 || is != 0x66 {
					t.Fatalf("byte %#x was %#x, is %#x", i, was, is)
				}
			}
		}
		if len(m.Image) != len(image) || n > m.Merged {
			t.Fatalf("%d bytes became %d, %d changed, %d merged", len(image), len(m.Image), n,
				m.Merged)
		}
	})
}
