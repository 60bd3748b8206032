package rpmver_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/rpmver"
)

// ordered lists versions from old to new; those on one line are equal to RPM.
var ordered = [][]string{
	{"", ".", "_+"},
	{"1.0~~"},
	{"1.0~rc1"},
	{"1.0~rc1^git1"},
	{"1.0~rc2"},
	{"1.0", "1_0", "1.00", "01.0", "1..0", "1.0."},
	{"1.0^"},
	{"1.0^git1~pre"},
	{"1.0^git1", "1.0^.git1"},
	{"1.0^git2"},
	{"1.0a"},
	{"1.0b"},
	{"1.0.1"},
	{"1.1"},
	{"1.10"},
	{"2.31"},
	{"20000000000000000000000000000000000000001"},
	{"20000000000000000000000000000000000000002"},
}

func TestCompare(t *testing.T) {
	for i, older := range ordered[2:] { // the first two only compare with non-empty versions
		for j, newer := range ordered[2:] {
			for _, a := range older {
				for _, b := range newer {
					want := min(max(i-j, -1), 1)
					if got := rpmver.Compare(a, b); got != want {
						t.Errorf("Compare(%q, %q) = %d, want %d", a, b, got, want)
					}
				}
			}
		}
	}
}

// TestCompareAsRPM compares many pairs with rpm's own answers, in one call of rpm.
func TestCompareAsRPM(t *testing.T) {
	pairs := versionPairs()
	var script strings.Builder
	for _, p := range pairs {
		// rpm rejects ""
		fmt.Fprintf(&script, "print(rpm.vercmp(%q,%q)..' ')\n", cmp.Or(p[0], "."),
			cmp.Or(p[1], "."))
	}
	answers := askRPM(t, script.String())
	if len(answers) != len(pairs) {
		t.Fatalf("rpm gave %d answers to %d questions", len(answers), len(pairs))
	}
	for i, p := range pairs {
		if got := rpmver.Compare(p[0], p[1]); strconv.Itoa(got) != answers[i] {
			t.Errorf("Compare(%q, %q) = %d, rpm says %s", p[0], p[1], got, answers[i])
		}
	}
}

// versionPairs returns pairs with small differences, for which the rules matter.
func versionPairs() [][2]string {
	r := rand.New(rand.NewPCG(7, 9))
	parts := []string{"1", "01", "10", "0", "2", "a", "ab", "A", "z", "~", "^", "~~", "^^", ".",
		"_", "+", "", "150300", "rc", "git9"}
	var pairs [][2]string
	for _, a := range ordered {
		for _, b := range ordered {
			pairs = append(pairs, [2]string{a[0], b[len(b)-1]})
		}
	}
	for range 1500 {
		a := make([]string, 1+r.IntN(6))
		for i := range a {
			a[i] = parts[r.IntN(len(parts))]
		}
		whole := strings.Join(a, "")
		a[r.IntN(len(a))] = parts[r.IntN(len(parts))]
		pairs = append(pairs, [2]string{whole, strings.Join(a, "")})
	}
	return pairs
}

// askRPM runs a Lua script in rpm and returns the words of its output.
func askRPM(t *testing.T, script string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "rpm", "--eval", "%{lua:\n"+script+"}").Output()
	if err != nil {
		t.Fatalf("rpm --eval: %v", err)
	}
	return strings.Fields(string(out))
}

// FuzzCompare checks the properties of an order.
func FuzzCompare(f *testing.F) {
	for _, same := range ordered {
		f.Add(same[0], "1.0", same[len(same)-1])
	}
	f.Fuzz(func(t *testing.T, a, b, c string) {
		ab, ba, bc, ac := rpmver.Compare(a, b), rpmver.Compare(b, a), rpmver.Compare(b, c),
			rpmver.Compare(a, c)
		switch {
		case rpmver.Compare(a, a) != 0:
			t.Errorf("%q does not equal itself", a)
		case ab != -ba:
			t.Errorf("Compare(%q, %q) = %d, but %d with swapped arguments", a, b, ab, ba)
		case ab < -1 || ab > 1:
			t.Errorf("Compare(%q, %q) = %d", a, b, ab)
		case ab <= 0 && bc <= 0 && ac > 0:
			t.Errorf("%q, %q, %q compare as %d and %d, but the first and the last as %d", a, b, c,
				ab, bc, ac)
		}
	})
}
