package ulp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// choices returns a hint with the versions of an ambiguous name and how a line chooses one; line
// makes the line of a name.
func choices(rows []symtab.Symbol, line func(name string) string) string {
	var lines []string
	seen := map[uint64]bool{}
	for _, s := range rows {
		if s.Version == "" || seen[s.Value] {
			continue
		}
		seen[s.Value] = true
		lines = append(lines, line(s.Qualified()))
	}
	if len(lines) < 2 {
		return ""
	}
	slices.Sort(lines)
	if len(lines) > symtab.MaxListed {
		lines = append(lines[:symtab.MaxListed], "...")
	}
	return "choose a version: " + strings.Join(lines, ", ")
}

// chooseFunction is such a hint for a function, which can also be replaced in all versions.
func (k *checker) chooseFunction(r Replacement, rows []symtab.Symbol) string {
	hint := choices(rows, func(name string) string { return name + ":" + r.New.Text })
	if hint == "" {
		if static := k.lib.ChoosePlace(r.Old.Text, func(name string) string {
			return name + ":" + r.New.Text
		}); static != "" {
			return static
		}
		return k.otherNames(rows)
	}
	return fmt.Sprintf("%s; or all of them: %s@*:%s", hint, r.Old.Text, r.New.Text)
}

// chooseVariable is such a hint for a variable.
func (k *checker) chooseVariable(r Reference, rows []symtab.Symbol) string {
	line := func(name string) string {
		r.Variable.Text = name
		return r.String()
	}
	hint := choices(rows, line)
	if hint == "" {
		hint = k.lib.ChoosePlace(r.Variable.Text, line)
	}
	if hint == "" {
		return places(rows) + "; choose by #VARIABLE:POINTER:OFFSET:OFFSET"
	}
	return hint
}

// versioned returns how a pattern with an @ may call a symbol: by its name and version, the default
// version with one @ as well.
func versioned(s symtab.Symbol) []string {
	name := s.Qualified()
	base, version := symtab.SplitVersion(name)
	if version == "" {
		return nil
	}
	return []string{name, base + "@" + version}
}

// addresses are those of the versions of each name.
type addresses map[string]map[uint64]bool

func addressesOf(functions []symtab.Symbol) addresses {
	a := addresses{}
	for _, s := range functions {
		if s.Version == "" {
			continue
		}
		if a[s.Name] == nil {
			a[s.Name] = map[uint64]bool{}
		}
		a[s.Name][s.Value] = true
	}
	return a
}
