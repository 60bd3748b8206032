package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/gate"
)

// TestRefusedOnce checks that a reason which several descriptions share is printed once.
func TestRefusedOnce(t *testing.T) {
	cell := func(patch, release string, reasons ...gate.Reason) buildmatrix.CellInfo {
		return buildmatrix.CellInfo{Status: buildmatrix.Refused, Patch: patch, Package: "glibc",
			Version: "2.31", Release: release, Arch: "x86_64", Reasons: reasons}
	}
	compiler := func(patch string) gate.Reason {
		text := "gcc: exit status 1:\nIn file included from " + patch +
			":1:\nshared.h:3:2: error: #error \"no version\"\n"
		return gate.Reason{Code: "compiler", Message: text, Shown: text}
	}
	missing := func(patch string) gate.Reason {
		return gate.Reason{Code: "no-symbol", Message: `symbol "x" is not in libc.so.6`,
			Hint: "did you mean y?", Shown: patch + ":3:1: error: ...\n    x:x_lp\n    ^\n"}
	}
	own := gate.Reason{Code: "ifunc", Message: "is an IFUNC",
		Shown: "c.in:4:1: error: is an IFUNC\n    ^~~\n"}
	var out bytes.Buffer
	printRefused(&console.Console{Err: &out}, &buildmatrix.Report{Cells: []buildmatrix.CellInfo{
		cell("a.in", "1", compiler("a")), cell("a.in", "2", compiler("a")),
		cell("b.in", "1", missing("b.in")), cell("c.in", "1", own, missing("c.in")),
		cell("d.in", "1", compiler("d")), {Status: buildmatrix.Refused, Patch: "e.in",
			Arch: "x86_64", Reasons: []gate.Reason{{Code: "no-build", Message: "nothing"}}},
	}})
	for _, want := range []string{
		"refused a.in, d.in for glibc-2.31-1.x86_64, glibc-2.31-2.x86_64:\ngcc: exit status " +
			"1:\nIn file included from a:1:\n",
		"refused b.in, c.in for glibc-2.31-1.x86_64:\nerror: symbol \"x\" is not in libc.so.6\n " +
			" hint: did you mean y?\n",
		"refused c.in for glibc-2.31-1.x86_64:\nc.in:4:1: error: is an IFUNC\n    ^~~\n",
		"refused e.in for x86_64:\nerror: nothing\n",
	} {
		if strings.Count(out.String(), want) != 1 {
			t.Errorf("want once\n%s", want)
		}
	}
	if n := strings.Count(out.String(), "#error"); n != 1 || strings.Count(out.String(), "^") != 1 {
		t.Errorf("the #error is there %d times:\n%s", n, out.String())
	}
}

// TestNotesOnce checks that a note about several functions of a patch is printed once.
func TestNotesOnce(t *testing.T) {
	note := func(function string) gate.Reason {
		return gate.Reason{Code: "handlers", Message: `"` + function +
			`" cannot be replaced by the native engine`, Hint: "say so"}
	}
	cell := func(container string) buildmatrix.CellInfo {
		return buildmatrix.CellInfo{Status: buildmatrix.Built, Patch: "a.in", Arch: "x86_64",
			Container: container,
			Notes: []gate.Reason{note("one"), note("two"), note("three"),
				{Code: "other", Message: "something else"}}}
	}
	var out bytes.Buffer
	printNotes(&console.Console{Err: &out},
		&buildmatrix.Report{Cells: []buildmatrix.CellInfo{cell("1.so"), cell("2.so")}})
	want := "note: a.in (2 containers): \"one\" (as \"two\", \"three\") cannot be replaced by " +
		"the native engine\n  hint: say so\n" +
		"note: a.in (2 containers): something else\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// TestRefusedHintsOnce checks that reasons in a row with the same hint have it once.
func TestRefusedHintsOnce(t *testing.T) {
	var reasons []gate.Reason
	for _, name := range []string{"one", "two"} {
		message := name + " has no NOPs"
		reasons = append(reasons, gate.Reason{Code: "no-nops", Message: message,
			Hint:  "use entries: any",
			Shown: "a.in:3:1: error: " + message + "\n  hint: use entries: any\n"})
	}
	var out bytes.Buffer
	printRefused(&console.Console{Err: &out}, &buildmatrix.Report{Cells: []buildmatrix.CellInfo{
		{Status: buildmatrix.Refused, Patch: "a.in", Arch: "x86_64", Reasons: reasons}}})
	want := "refused a.in for x86_64:\na.in:3:1: error: one has no NOPs\na.in:3:1: error: two " +
		"has no NOPs\n  hint: use entries: any\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// TestNotesOncePerRun checks that a note that names no function is printed once for all patches.
func TestNotesOncePerRun(t *testing.T) {
	var cells []buildmatrix.CellInfo
	for _, patch := range []string{"a.in", "b.in"} {
		cells = append(cells, buildmatrix.CellInfo{Status: buildmatrix.Built, Patch: patch,
			Arch: "ppc64le", Container: patch + ".so",
			Notes: []gate.Reason{{Code: "architecture",
				Message: "the native engine is for x86_64 only"}}})
	}
	var out bytes.Buffer
	printNotes(&console.Console{Err: &out}, &buildmatrix.Report{Cells: cells})
	const want = "note: a.in, b.in (2 containers): the native engine is for x86_64 only\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
