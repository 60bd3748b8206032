package rpmver_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/rpmver"
)

func TestParse(t *testing.T) {
	tests := map[string]struct {
		want rpmver.EVR
		text string // of want, if not the input
	}{
		"2.31-150300.26.5": {rpmver.EVR{Version: "2.31", Release: "150300.26.5"}, ""},
		"2.31":             {rpmver.EVR{Version: "2.31"}, ""},
		"1:2.31-1_2":       {rpmver.EVR{Epoch: 1, Version: "2.31", Release: "1_2"}, ""},
		"0:1.0~rc1^git+a":  {rpmver.EVR{Version: "1.0~rc1^git+a"}, "1.0~rc1^git+a"},
		"007:1":            {rpmver.EVR{Epoch: 7, Version: "1"}, "7:1"},
		"2147483647:1":     {rpmver.EVR{Epoch: 2147483647, Version: "1"}, ""},
	}
	for in, tc := range tests {
		got, err := rpmver.Parse(in)
		if err != nil || got != tc.want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", in, got, err, tc.want)
		}
		if text := got.String(); text != in && text != tc.text {
			t.Errorf("Parse(%q).String() = %q", in, text)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for in, about := range map[string]string{
		"": "no version", "-1": "no version", "1:": "no version", "1-": "nothing after",
		"1-2-3": `'-'`, ":1": "epoch",
		"a:1": "epoch", "-1:1": "epoch", "2147483648:1": "epoch", "1:2:3": `':'`, "1 2": `' '`,
		"1/2-3": `'/'`, "1-é": `'é'`,
		"1-\x1b[2J": `'\x1b'`, "1-\xff": "'�'", strings.Repeat("1", 600): "longer than 512",
	} {
		got, err := rpmver.Parse(in)
		if !errors.Is(err, rpmver.ErrSyntax) || !strings.Contains(err.Error(), about) ||
			!got.IsZero() {
			t.Errorf("Parse(%.20q) = %v, %v; want ErrSyntax about %s", in, got, err, about)
		}
	}
}

// packages are builds from old to new.
var packages = []string{
	"2.26-150000.13", "2.31", "2.31-1", "2.31-150300.9.12.1", "2.31-150300.26.5",
	"2.31-150300.63.1", "2.31^1-1", "2.38-1",
	"2.38-150600.14.32.1", "1:1.0-1", "1:2.0-1",
}

func TestEVRCompare(t *testing.T) {
	for i, a := range packages {
		for j, b := range packages {
			if got := parse(t, a).Compare(parse(t, b)); got != min(max(i-j, -1), 1) {
				t.Errorf("%s to %s = %d", a, b, got)
			}
		}
	}
}

// TestEVRCompareAsRPM compares the results with rpm's.
func TestEVRCompareAsRPM(t *testing.T) {
	list := append(slices.Clone(packages), "0:2.31", "2.31-01", "2.031-1")
	var script strings.Builder
	for _, a := range list {
		for _, b := range list {
			fmt.Fprintf(&script, "a, b = rpm.ver(%q), rpm.ver(%q); print((a < b and -1 or a > b "+
				"and 1 or 0)..' ')\n", a, b)
		}
	}
	answers := askRPM(t, script.String())
	for i, a := range list {
		for j, b := range list {
			if got := parse(t, a).Compare(parse(t, b)); strconv.Itoa(got) != answers[i*len(list)+
				j] {
				t.Errorf("%s to %s = %d, rpm says %s", a, b, got, answers[i*len(list)+j])
			}
		}
	}
}

func TestText(t *testing.T) {
	type both struct {
		EVR   rpmver.EVR
		Range rpmver.Range
	}
	for _, want := range []both{{}, {parse(t, "1:2-3"), mustRange(t, ">= 2, < 3-1")}} {
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got := both{parse(t, "9"), mustRange(t, "= 9")}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("through %s (-want +got):\n%s", text, d)
		}
	}
	var b both
	var re *rpmver.RangeError
	if err := json.Unmarshal([]byte(`{"Range": "> 1, 2"}`), &b); !errors.As(err, &re) ||
		re.Column != 6 {
		t.Errorf("bad range: %v", err)
	}
	if err := json.Unmarshal([]byte(`{"EVR": "1-"}`), &b); !errors.Is(err, rpmver.ErrSyntax) {
		t.Errorf("bad version: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range append(slices.Clone(packages), "", "1:", "0:1-", "1-2-3", "1:2:3",
		"1.0~rc^1-a") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := rpmver.Parse(s)
		if err != nil {
			if !e.IsZero() || !errors.Is(err, rpmver.ErrSyntax) {
				t.Fatalf("Parse(%q) = %+v, %v", s, e, err)
			}
			return
		}
		if again, err := rpmver.Parse(e.String()); err != nil || again != e ||
			again.Compare(e) != 0 {
			t.Errorf("Parse(%q) = %+v, printed %q, then %+v, %v", s, e, e, again, err)
		}
	})
}

func parse(t *testing.T, s string) rpmver.EVR {
	t.Helper()
	e, err := rpmver.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
