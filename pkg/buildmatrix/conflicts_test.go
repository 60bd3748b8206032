package buildmatrix

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestContainerNameSaysBuild: whoever has only a container's name must be able to tell which build
// it is for.
func TestContainerNameSaysBuild(t *testing.T) {
	for name, good := range map[string]bool{
		"libtoy_{version}-{release}_livepatch1.so":   true,
		"libtoy_GLIBCVER_livepatch12.so":             true,
		"libtoy_1.0-150300.26.5_livepatch1.so":       true,
		"libtoy_1.0-150300.26.6_livepatch1.so":       false, // another build's
		"libtoy_{version}_livepatch1.so":             false,
		"libtoy_{release}-{version}_livepatch1.so":   false,
		"libtoy-{version}-{release}_livepatch1.so":   false,
		"libtoy_{version}-{release}.1_livepatch1.so": false,
		"libtoy_{version}-{release}_livepatch.so":    false,
		"libtoy_{version}-{release}_livepatch1a.so":  false,
		"_{version}-{release}_livepatch1.so":         false,
		"libtoy_{version}-{release}.so":              false,
	} {
		f := newPackage(t, "1.0-150300.26.5")
		f.write("toy_livepatch1.in", name+"\n@{library}\ntoy_add:toy_add_lp\n")
		r, err := f.build()
		if good {
			if err != nil {
				t.Errorf("%s: %v: %s", name, err, reasonText(r))
			}
			continue
		}
		if !errors.Is(err, ErrRefused) {
			t.Fatalf("%s: error is %v, want a refusal", name, err)
		}
		reason := r.Cells[0].Reasons[0]
		if reason.Code != "container-name" ||
			!strings.HasSuffix(reason.Where, "toy_livepatch1.in:1:1") ||
			!strings.Contains(reason.Hint, "_{version}-{release}_livepatch1.so") ||
			!strings.Contains(reason.Shown, name) {
			t.Errorf("%s: %+v", name, reason)
		}
	}
}

// secondPatch adds a patch to the directory, before the first one.
func (f *packageDir) secondPatch(description, more string) {
	f.t.Helper()
	f.edit("patches:", "patches:\n  - {library: libtoy.so.1, description: second.in, sources: "+
		"[toy_livepatch1.c]"+more+"}")
	f.write("second.in", description)
}

// TestSameContainerName refuses both of two cells that would write one file, and each names the
// other.
func TestSameContainerName(t *testing.T) {
	f := newPackage(t, "1.0-1", "1.0-2")
	f.secondPatch("libtoy_{version}-{release}_livepatch1.so\n@{library}\ntoy_sub:toy_add_lp\n",
		", builds: '>= 1.0-2'")
	r, err := f.build()
	if !errors.Is(err, ErrRefused) {
		t.Fatalf("error is %v", err)
	}
	got := map[string]string{}
	for _, c := range r.Cells {
		got[c.Patch+" "+c.Release] = c.Container
		if c.Status == Built {
			continue
		}
		other := map[string]string{"second.in": "toy_livepatch1.in",
			"toy_livepatch1.in": "second.in"}[c.Patch]
		if c.Reasons[0].Code != "same-name" || !strings.Contains(c.Reasons[0].Message, other) ||
			c.Reasons[0].Hint != "give each a number of its own: livepatch1 in second.in, "+
				"livepatch2 in toy_livepatch1.in" {
			t.Errorf("%s: %+v", c.Patch, c.Reasons)
		}
	}
	want := map[string]string{"second.in 2": "", "toy_livepatch1.in 2": "",
		"toy_livepatch1.in 1": "libtoy_1.0-1_livepatch1.so"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("containers (-want +got):\n%s", d)
	}
}

// TestReplacedTwice: of two patches that replace one function only the last would work, so neither
// is made.
func TestReplacedTwice(t *testing.T) {
	tests := map[string]struct {
		functions, builds string
		refused           int
	}{
		"same name":         {"toy_add:toy_add_lp", "", 4},
		"one of several":    {"toy_sub:toy_add_lp\ntoy_add:toy_add_lp", "", 4},
		"by its other name": {"toy_plus:toy_add_lp", "", 4},
		"by its version":    {"toy_add@TOY_1:toy_add_lp", "", 4},
		"only in the newer": {"toy_add:toy_add_lp", ", builds: '>= 2'", 2},
		"other function":    {"toy_sub:toy_add_lp", "", 0},
		// that one has no build
		"none that is there yet": {"toy_add:toy_add_lp", ", builds: '> 3'", 1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1", "2.0-1")
			f.secondPatch("libtoy_{version}-{release}_livepatch2.so\n@{library}\n"+tc.functions+
				"\n", tc.builds)
			r, err := f.build()
			if (err != nil) != (tc.refused > 0) || r.Count(Refused) != tc.refused {
				t.Fatalf("%v: %d refused, want %d: %s", err, r.Count(Refused), tc.refused,
					reasonText(r))
			}
			said := map[string]bool{}
			for _, c := range r.Cells {
				if c.Status == Refused && c.Reasons[0].Code == "replaced-twice" {
					said[c.Reasons[0].Shown] = true
				}
			}
			if len(said) > 2 {
				t.Errorf("one reason has other words for each build: %v", said)
			}
			for _, c := range r.Cells {
				other := map[string]string{"second.in": "toy_livepatch1.in",
					"toy_livepatch1.in": "second.in"}[c.Patch]
				if c.Status == Refused && c.Reasons[0].Code != "no-build" &&
					(c.Reasons[0].Code != "replaced-twice" ||
						!strings.Contains(c.Reasons[0].Message, other) ||
						c.Reasons[0].Where == "") {
					t.Errorf("%s %s: %+v", c.Patch, c.Version, c.Reasons)
				}
			}
		})
	}
}

// TestVerdictOnTwoIsForgotten: what was refused because of another patch is built when that is
// gone.
func TestVerdictOnTwoIsForgotten(t *testing.T) {
	f := newPackage(t, "1.0-1")
	f.secondPatch("libtoy_{version}-{release}_livepatch2.so\n@{library}\ntoy_add:toy_add_lp\n", "")
	if _, err := f.build(); !errors.Is(err, ErrRefused) {
		t.Fatal(err)
	}
	f.write("second.in", "libtoy_{version}-{release}_livepatch2.so\n@{library}\n"+
		"toy_sub:toy_add_lp\n")
	if n := len(f.mustBuild().Containers()); n != 2 {
		t.Errorf("%d containers, want 2", n)
	}
}

// TestOverlaps: patches that replace one function are made if all of them accept that, and judged
// for everything else.
func TestOverlaps(t *testing.T) {
	const accept = ", overlaps: {accept: the same code}"
	for name, tc := range map[string]struct {
		first, second, functions string
		codes                    string // of the reasons against the second patch
	}{
		"both":           {accept, accept, "toy_add:toy_add_lp", ""},
		"one":            {"", accept, "toy_add:toy_add_lp", "replaced-twice"},
		"the other":      {accept, "", "toy_add:toy_add_lp", "replaced-twice"},
		"with a mistake": {accept, accept, "toy_add:toy_add_lp\nno_such:toy_add_lp", "no-symbol"},
		"none, and worse": {"", "", "toy_add:toy_add_lp\nno_such:toy_add_lp",
			"replaced-twice no-symbol"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1", "2.0-1")
			f.secondPatch("libtoy_{version}-{release}_livepatch2.so\n@{library}\n"+tc.functions+
				"\n", tc.second)
			if tc.first != "" {
				f.edit("    sources:", "    "+strings.TrimPrefix(tc.first, ", ")+"\n    sources:")
			}
			r, err := f.build()
			if (err != nil) != (tc.codes != "") {
				t.Fatalf("%v: %s", err, reasonText(r))
			}
			for _, c := range r.Cells {
				if c.Patch == "second.in" && codesOf(c.Reasons) != tc.codes {
					t.Errorf("%s: %s, want %s", c.Patch, codesOf(c.Reasons), tc.codes)
				}
				if tc.codes == "" && !strings.HasSuffix(c.Notes[0].Message,
					`is replaced by each of second.in, toy_livepatch1.in; `+
						`accepted: the same code`) {
					t.Errorf("%s: notes %+v", c.Patch, c.Notes)
				}
			}
		})
	}
}
