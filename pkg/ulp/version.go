package ulp

import (
	"fmt"
	"slices"
	"strings"
)

// SplitVersion splits a name at its symbol version: "bar@V1", or "bar@@V2" where V2 has to be the default version, into "bar" and
// the version. Without a version it returns the name and "".
func SplitVersion(name string) (base, version string) {
	base, version, _ = strings.Cut(name, "@")
	if version = strings.TrimPrefix(version, "@"); base == "" || version == "" {
		return name, ""
	}
	return base, version
}

// Qualified returns the name with its version, as readelf prints it: bar@V1, or bar@@V2 for the default version.
func (s Symbol) Qualified() string {
	switch {
	case s.Version == "" || strings.Contains(s.Name, "@"):
		return s.Name
	case s.Default:
		return s.Name + "@@" + s.Version
	}
	return s.Name + "@" + s.Version
}

// versions returns the rows that a name stands for, undefined ones too. One with a version means rows of .dynsym, which are there
// in a stripped library as well, and those that the linker has named like that in .symtab.
func (l *Library) versions(name string) []Symbol {
	if place, base := splitPlace(name); place != "" {
		return l.placed(place, base)
	}
	base, version := SplitVersion(name)
	if version == "" {
		return l.LookupAll(name)
	}
	isDefault := strings.Contains(name, "@@")
	rows := slices.DeleteFunc(l.LookupAll(base), func(s Symbol) bool {
		return s.Version != version || isDefault && !s.Default
	})
	rows = append(rows, l.LookupAll(name)...)
	if !isDefault {
		rows = append(rows, l.LookupAll(base+"@@"+version)...)
	}
	return rows
}

// versionsOf returns the names with versions of the rows that are defined.
func versionsOf(rows []Symbol) []string {
	var names []string
	for _, s := range rows {
		if s.Version != "" && !s.Undefined {
			names = append(names, s.Qualified())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// choices returns a hint with the versions of an ambiguous name and how a line chooses one; line makes the line of a name.
func choices(rows []Symbol, line func(name string) string) string {
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
	if len(lines) > listed {
		lines = append(lines[:listed], "...")
	}
	return "choose a version: " + strings.Join(lines, ", ")
}

// chooseFunction is such a hint for a function, which can also be replaced in all versions.
func (k *checker) chooseFunction(r Replacement, rows []Symbol) string {
	hint := choices(rows, func(name string) string { return name + ":" + r.New.Text })
	if hint == "" {
		if static := k.lib.choosePlace(r.Old.Text, func(name string) string { return name + ":" + r.New.Text }); static != "" {
			return static
		}
		return k.otherNames(rows)
	}
	return fmt.Sprintf("%s; or all of them: %s@*:%s", hint, r.Old.Text, r.New.Text)
}

// chooseVariable is such a hint for a variable.
func (k *checker) chooseVariable(r Reference, rows []Symbol) string {
	line := func(name string) string {
		r.Variable.Text = name
		return r.String()
	}
	hint := choices(rows, line)
	if hint == "" {
		hint = k.lib.choosePlace(r.Variable.Text, line)
	}
	if hint == "" {
		return places(rows) + "; choose by #VARIABLE:POINTER:OFFSET:OFFSET"
	}
	return hint
}

// versioned returns how a pattern with an @ may call a symbol: by its name and version, the default version with one @ as well.
func versioned(s Symbol) []string {
	name := s.Qualified()
	base, version := SplitVersion(name)
	if version == "" {
		return nil
	}
	return []string{name, base + "@" + version}
}

// addresses are those of the versions of each name.
type addresses map[string]map[uint64]bool

func addressesOf(functions []Symbol) addresses {
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
