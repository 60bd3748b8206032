package rpmver_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/rpmver"
)

func TestRangeContains(t *testing.T) {
	tests := []struct {
		r       string
		in, out []string
	}{
		{"", []string{"0", "1:2-3"}, nil},
		{" \t", []string{"0", "1:2-3"}, nil},
		{">= 2.31-150300.9", []string{"2.31-150300.9", "2.31-150300.9.12.1", "2.31-150300.26.5",
			"2.38-1"}, []string{"2.31-150300.8.1", "2.31-150200.9", "2.26-999"}},
		{"< 2.38", []string{"2.31-999", "2.38~rc1-1"}, []string{"2.38-1", "2.38", "2.38.1-1"}},
		{"<= 2.38", []string{"2.31-999", "2.38-1"}, []string{"2.38.1-1"}},
		{"> 2.31", []string{"2.32-1", "2.31^1-1"}, []string{"2.31-5", "2.31"}},
		{"= 2.31", []string{"2.31-5", "2.31", "2.031-1"}, []string{"2.31.1-5"}},
		{"== 2.31-5", []string{"2.31-5", "2.31-05", "2.31"}, []string{"2.31-6"}},
		{"!= 2.31", []string{"2.32-1"}, []string{"2.31-5"}},
		{"!=2.31-5", []string{"2.31-6"}, []string{"2.31-5"}},
		{">=2.31-1,<2.38 , != 2.35", []string{"2.31-1", "2.37-9"},
			[]string{"2.31-0", "2.35-3", "2.38-1"}},
		{"< 2.38", []string{"1:2.37-1"}, []string{"1:2.38-1"}},       // any epoch
		{">= 1:2.31", []string{"1:2.31-1", "2:1"}, []string{"2.99"}}, // the epoch counts
		{"= 0:2.31", []string{"2.31-1"}, []string{"1:2.31-1"}},
	}
	for _, tc := range tests {
		r := mustRange(t, tc.r)
		for _, s := range tc.in {
			if !r.Contains(parse(t, s)) {
				t.Errorf("%q does not contain %s", tc.r, s)
			}
		}
		for _, s := range tc.out {
			if r.Contains(parse(t, s)) {
				t.Errorf("%q contains %s", tc.r, s)
			}
		}
	}
}

func TestRangeString(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "  ": "", ">=2-1,<3": ">= 2-1, < 3", "\t== 2 ": "= 2", "> 0:1": "> 0:1",
		"!= 1:2-3": "!= 1:2-3",
	} {
		r := mustRange(t, in)
		if got := r.String(); got != want {
			t.Errorf("ParseRange(%q).String() = %q, want %q", in, got, want)
		}
		if r.IsZero() != (want == "") {
			t.Errorf("ParseRange(%q).IsZero() = %v", in, r.IsZero())
		}
		if again := mustRange(t, want); !again.Equal(r) {
			t.Errorf("ParseRange(%q) is not ParseRange(%q)", want, in)
		}
	}
}

func TestParseRangeErrors(t *testing.T) {
	for in, column := range map[string]int{
		"2.31": 1, "  2.31": 3, ">": 2, ">= ": 4, ">= 2,": 6, ",": 1, ">= 2, , < 3": 7,
		">= 2, < 3 4": 9, "=> 2": 2, "~ 2": 1,
		"< 2-": 3, ">= 2,\n<x:3": 8, "< 2 - 3": 3, "=== 2": 3,
	} {
		r, err := rpmver.ParseRange(in)
		var re *rpmver.RangeError
		if !errors.As(err, &re) || re.Column != column || !errors.Is(err, rpmver.ErrSyntax) ||
			re.Range != in || !r.IsZero() {
			t.Errorf("ParseRange(%q) = %v, %v; want an error at column %d", in, r, err, column)
		}
	}
	long := ""
	for range 101 {
		long += ",<2"
	}
	if _, err := rpmver.ParseRange(long[1:]); err == nil {
		t.Error("101 comparisons were accepted")
	}
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"", ">= 2.31-150300.9", "< 2.38, != 1:2", "==1,", " =0:1", "<=~"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := rpmver.ParseRange(s)
		if err != nil {
			var re *rpmver.RangeError
			if !errors.As(err, &re) || re.Column < 1 || re.Column > len(s)+1 || !r.IsZero() {
				t.Fatalf("ParseRange(%q) = %v, %v", s, r, err)
			}
			return
		}
		if again, err := rpmver.ParseRange(r.String()); err != nil || !again.Equal(r) {
			t.Errorf("ParseRange(%q) printed %q, then %v, %v", s, r, again, err)
		}
	})
}

func mustRange(t *testing.T, s string) rpmver.Range {
	t.Helper()
	r, err := rpmver.ParseRange(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ExampleParseRange() {
	r, _ := rpmver.ParseRange(">= 2.31-150300.9, < 2.38")
	for _, s := range []string{"2.31-150300.8.3", "2.31-150300.63.1", "2.38-1"} {
		e, _ := rpmver.Parse(s)
		fmt.Println(s, r.Contains(e))
	}
	// Output:
	// 2.31-150300.8.3 false
	// 2.31-150300.63.1 true
	// 2.38-1 false
}
