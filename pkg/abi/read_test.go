package abi_test

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lpbuild/lpbuild/pkg/abi"
)

// check compares facts with what testdata/library.c says.
func check(t *testing.T, facts *abi.Facts) {
	t.Helper()
	outer := one(t, facts.Function("outer"))
	want := []abi.Param{
		{Name: "n", Type: abi.Type{Name: "struct node *", Size: 8}},
		{Name: "c", Type: abi.Type{Name: "enum colour", Size: 4}},
		{Name: "f", Type: abi.Type{Name: "compare_t", Size: 8}},
	}
	if d := cmp.Diff(want, outer.Params); d != "" || !outer.Variadic || !outer.External {
		t.Errorf("outer: %+v\n%s", outer, d)
	}
	if outer.Result != (abi.Type{Name: "int", Size: 4}) || outer.Line != 35 ||
		filepath.Base(outer.File) != "library.c" || len(outer.Addresses) != 1 {
		t.Errorf("outer: %+v", outer)
	}

	for name, want := range map[string][]abi.Copy{
		"middle":  {{Into: "another", Count: 1}, {Into: "outer", Count: 1}},
		"deepest": {{Into: "another", Count: 2}, {Into: "outer", Count: 1}},
	} {
		f := one(t, facts.Function(name))
		if d := cmp.Diff(want, f.Inlined, byName); d != "" || len(f.Addresses) != 0 {
			t.Errorf("%s: %+v\n%s", name, f, d)
		}
	}

	called := one(t, facts.Function("called"))
	if d := cmp.Diff([]abi.Copy{{Into: "another", Count: 1}, {Into: "outer", Count: 1}},
		called.Callers, byName); d != "" {
		t.Error("callers of called:", d)
	}
	if len(called.Params) != 2 || len(called.Clones) != 1 {
		t.Errorf("called: %+v", called) // gcc drops a parameter in a clone
	}

	node := one(t, facts.Layout("struct node"))
	wantNode := &abi.Layout{Name: "struct node", Kind: abi.Struct, Size: 32, Line: 1,
		Members: []abi.Member{
			{Name: "next", Type: abi.Type{Name: "struct node *", Size: 8}, Line: 2},
			{Name: "value", Type: abi.Type{Name: "int", Size: 4}, Offset: 8, Line: 3},
			{Name: "small", Type: abi.Type{Name: "unsigned int", Size: 4}, Offset: 12,
				BitOffset: 96, BitSize: 3, Line: 4},
			{Name: "large", Type: abi.Type{Name: "unsigned int", Size: 4}, Offset: 12,
				BitOffset: 99, BitSize: 9, Line: 4},
			{Type: abi.Type{Size: 16}, Offset: 16},
		}}
	wantNode.Members[4].Type.Name = node.Members[4].Type.Name // has a digest
	if d := cmp.Diff(wantNode, node,
		cmpopts.IgnoreFields(abi.Layout{}, "Unit", "File")); d != "" {
		t.Error(d)
	}
	if l := one(t, facts.Layout(node.Members[4].Type.Name)); l.Kind != abi.Union ||
		l.Members[1].Type != (abi.Type{Name: "char [12]", Size: 12}) {
		t.Errorf("the union without a name: %+v", l)
	}
	if d := cmp.Diff([]abi.Value{{Name: "RED", Value: 1}, {Name: "GREEN", Value: -2},
		{Name: "BLUE", Value: 40}},
		one(t, facts.Layout("enum colour")).Values); d != "" {
		t.Error(d)
	}
	if l := one(t, facts.Layout("compare_t")); l.Target !=
		"int (*)(const void *, const struct node *)" {
		t.Errorf("compare_t: %+v", l)
	}
	one(t, facts.Layout("point")) // a local variable has it

	for name, want := range map[string]abi.Variable{
		"private_table": {Type: abi.Type{Name: "int [7]", Size: 28}},
		"per_thread":    {Type: abi.Type{Name: "long", Size: 8}, TLS: true},
		"head":          {Type: abi.Type{Name: "struct node *", Size: 8}, External: true},
		"calls":         {Type: abi.Type{Name: "int", Size: 4}, Function: "called"},
	} {
		i := slices.IndexFunc(facts.Variables, func(v abi.Variable) bool { return v.Name == name })
		if i < 0 {
			t.Errorf("no variable %s", name)
			continue
		}
		want.Name = name
		got := facts.Variables[i]
		if got.Type.Name == "long int" {
			got.Type.Name = "long"
		}
		if d := cmp.Diff(want, got,
			cmpopts.IgnoreFields(abi.Variable{}, "Unit", "File", "Line", "Address")); d != "" {
			t.Error(d)
		}
		if got.Line == 0 || got.Address == 0 && !got.TLS {
			t.Errorf("%+v", got)
		}
	}
}

var byName = cmpopts.SortSlices(func(a, b abi.Copy) bool { return a.Into < b.Into })

// one returns the only element.
func one[T any](t *testing.T, list []T) (element T) {
	t.Helper()
	if len(list) != 1 {
		t.Fatalf("%d instead of 1: %+v", len(list), list)
	}
	return list[0]
}

func TestRead(t *testing.T) {
	for name, options := range map[string][]string{
		"DWARF 5":               {"-gdwarf-5"},
		"DWARF 4":               {"-gdwarf-4"},
		"64-bit DWARF":          {"-gdwarf64"},
		"compressed":            {"-gz=zlib"},
		"compressed, old style": {"-gz=zlib-gnu", "-gdwarf-4"},
	} {
		t.Run(name, func(t *testing.T) { check(t, read(t, library(t, options...))) })
	}
}

func TestSeparateDebuginfo(t *testing.T) {
	lib := library(t)
	debug := lib + ".debug"
	run(t, "objcopy", "--only-keep-debug", lib, debug)
	check(t, read(t, debug))
	run(t, "strip", lib)
	if _, err := abi.Read(open(t, lib), abi.Options{}); !errors.Is(err, abi.ErrNone) {
		t.Errorf("a stripped library: %v", err)
	}
}

func TestBuildID(t *testing.T) {
	lib := library(t)
	const other = "0123456789abcdef"
	_, err := abi.Read(open(t, lib), abi.Options{BuildID: other})
	wrong, ok := errors.AsType[*abi.BuildIDError](err)
	if !ok || wrong.Want != other || wrong.Got != read(t, lib).BuildID {
		t.Errorf("debuginfo of another build: %v", err)
	}
}

func TestSplit(t *testing.T) {
	_, err := abi.Read(open(t, library(t, "-gsplit-dwarf", "-dumpdir",
		t.TempDir()+"/")), abi.Options{})
	if !errors.Is(err, abi.ErrSplit) {
		t.Errorf("split DWARF: %v", err)
	}
}

func TestLTO(t *testing.T) {
	facts := read(t, library(t, "-flto"))
	if !slices.ContainsFunc(facts.Units, func(u abi.Unit) bool { return u.LTO }) {
		t.Errorf("no unit is marked: %+v", facts.Units)
	}
	if facts := read(t, library(t)); facts.Units[0].LTO {
		t.Errorf("marked: %+v", facts.Units)
	}
}
