package gate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/rpmver"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// strangers returns a reason for each library that the container needs and that is not known to be
// loaded.
func (s *Scope) strangers(c *ulp.Container) []Reason {
	var reasons []Reason
	for _, soname := range c.Needed {
		if s.isTarget(soname) || slices.Contains(s.Target.Needed, soname) ||
			len(s.providers(soname)) > 0 {
			continue
		}
		reasons = append(reasons, Reason{
			Code: "needed-library",
			Message: fmt.Sprintf("the container needs %s, which %s does not need and no build in "+
				"%s contains: where it is missing the container cannot be loaded",
				soname, s.Target.Name, config.LockName),
			Hint: "link without it (-Wl,--as-needed drops libraries that nothing is used of), or " +
				"add the package that contains it to \"packages\"",
		})
	}
	return reasons
}

// missing returns a reason for each symbol and each version that the container needs and that is
// not there.
func (s *Scope) missing(c *ulp.Container) []Reason {
	var reasons []Reason
	refuse := func(code, hint, format string, args ...any) {
		reasons = append(reasons, Reason{Code: code, Message: fmt.Sprintf(format, args...),
			Hint: hint})
	}
	reported := map[symtab.Need]bool{}
	for _, need := range c.Needs {
		if problem, hint := s.versionProblem(need); problem != "" {
			reported[need] = true
			if older := s.olderVersion(c, need); older != "" {
				hint = older
			}
			refuse("undefined-version", hint, "the container needs version %s of %s%s, and %s",
				need.Version, need.File, users(c, need), problem)
		}
	}
	for _, u := range c.Undefined() {
		if u.Weak || ulp.IsOriginal(u.Name) ||
			reported[symtab.Need{File: u.File, Version: u.Version}] {
			continue
		}
		if problem, hint := s.symbolProblem(u); problem != "" {
			refuse("undefined-symbol", hint, "undefined symbol %s", problem)
		}
	}
	return reasons
}

// olderVersion returns a hint if the build has, in an older version, all that the container uses in
// a version that the build lacks; "" if not.
func (s *Scope) olderVersion(c *ulp.Container, need symtab.Need) string {
	var lines []string
	for _, u := range c.Undefined() {
		if u.File != need.File || u.Version != need.Version || u.Weak {
			continue
		}
		older := s.versionIn(u.Name, need.Version)
		if older == "" {
			return ""
		}
		lines = append(lines, fmt.Sprintf("__asm__(\".symver %s,%[1]s@%s\");", u.Name, older))
	}
	if len(lines) == 0 {
		return ""
	}
	if len(lines) > 5 {
		lines = append(lines[:5], "...")
	}
	return "the build has it in an older version: compile on a system as old as the oldest " +
		"build, or choose that in the source: " +
		strings.Join(lines, " ")
}

// versionIn returns the oldest version but one in which a library of the builds, or the target,
// exports a symbol; "" if none does.
func (s *Scope) versionIn(name, but string) string {
	oldest := ""
	note := func(version string) {
		_, a := symtab.SplitNumber(version)
		_, b := symtab.SplitNumber(oldest)
		if version != "" && version != but && (oldest == "" || rpmver.Compare(a, b) < 0) {
			oldest = version
		}
	}
	for _, row := range s.Target.LookupAll(name) {
		if row.IsExported() {
			note(row.Version)
		}
	}
	for _, e := range append([]Exports{s.own}, s.others...) {
		for _, lib := range e {
			if !lib.has(name) {
				continue
			}
			for symbol := range lib.symbols {
				if version, ok := strings.CutPrefix(symbol, name+"@"); ok {
					note(version)
				}
			}
		}
	}
	return oldest
}

// users names the symbols that bring a version into the container.
func users(c *ulp.Container, need symtab.Need) string {
	var names []string
	for _, u := range c.Undefined() {
		if u.File == need.File && u.Version == need.Version {
			names = append(names, u.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	if len(names) > 5 {
		names = append(names[:5], "…")
	}
	return " (for " + strings.Join(names, ", ") + ")"
}

// versionProblem says what is wrong with a symbol version that the container's loader would ask a
// library for; "" if nothing is.
func (s *Scope) versionProblem(need symtab.Need) (problem, hint string) {
	own := s.own[need.File] != nil
	switch {
	case slices.Contains(s.Target.Needs, need), s.isTarget(need.File) &&
		s.targetDefines(need.Version), s.provides(need.File, "@"+need.Version):
		// what the library itself cannot be loaded without is there, also a version that has no
		// symbols
		return "", ""
	case own || s.isTarget(need.File):
		return "this build's " + need.File + " has no such version",
			"the function is newer than the build: write the source against older interfaces"
	case len(s.providers(need.File)) > 0:
		return "a build of the package that has " + need.File + " has no such version",
			"write the source against older interfaces"
	case s.inheritedNeed(need):
		return "", ""
	}
	return fmt.Sprintf("neither this build's package nor another one in the lock contains %s; "+
		"this build's %s itself needs no version of it as new as that",
		need.File, s.Target.Name), "add the package that contains " + need.File + " to \"packages\""
}

// inheritedNeed reports whether the library itself needs a version at least as new: then it is
// there wherever the library is. Version names of one series ("GLIBC_2.4", "GLIBC_2.34") are
// cumulative.
func (s *Scope) inheritedNeed(need symtab.Need) bool {
	series, number := symtab.SplitNumber(need.Version)
	return slices.ContainsFunc(s.Target.Needs, func(n symtab.Need) bool {
		s, v := symtab.SplitNumber(n.Version)
		return n.File == need.File && (n.Version == need.Version || s == series && number != "" &&
			v != "" && rpmver.Compare(number, v) <= 0)
	})
}

const hintStatic = "name a static function or variable of the library by a reference " +
	"(#variable:pointer); a function that only newer builds have must be copied into the source"

// symbolProblem says what is wrong with an undefined symbol; "" if nothing is.
func (s *Scope) symbolProblem(u symtab.Undefined) (problem, hint string) {
	name := u.Name
	if u.Version != "" {
		name += "@" + u.Version
	}
	if s.targetExports(u.Name, u.Version) || s.targetImports(u.Name, u.Version) ||
		slices.ContainsFunc(s.loaded, func(soname string) bool {
			return s.provides(soname, name)
		}) {
		return "", ""
	}
	own := s.own[u.File] != nil || u.File != "" && s.isTarget(u.File)
	switch {
	case u.Version == "":
		return s.unversionedProblem(name)
	case own && (s.own[u.File].has(u.Name) || s.isTarget(u.File) && s.targetExports(u.Name, "")):
		return fmt.Sprintf("%s: this build's %s exports %s, but not in that version", name, u.File,
			u.Name), hintStatic
	case own:
		return fmt.Sprintf("%s is not exported by this build's %s", name, u.File), hintStatic
	case len(s.providers(u.File)) > 0:
		return fmt.Sprintf("%s is not exported by every build in %s that has %s", name,
			config.LockName, u.File), hintStatic
	}
	return "", "" // the library is in no package of the lock; its version has been judged
}

// unversionedProblem tells a symbol that no library has from one of a library that is not loaded.
func (s *Scope) unversionedProblem(name string) (problem, hint string) {
	for _, e := range slices.Concat([]Exports{s.own}, s.others) {
		for _, soname := range sortedNames(e) {
			if e[soname].has(name) && !slices.Contains(s.loaded, soname) {
				return fmt.Sprintf("%s is exported by %s, which neither %s nor the container "+
						"needs: it may not be loaded", name, soname, s.Target.Name),
					"link the container with that library, in \"cflags\""
			}
		}
	}
	return fmt.Sprintf("%s is exported neither by %s nor by every build of a library that is "+
		"loaded with it or with the container",
		name, s.Target.Name), hintStatic
}

func sortedNames(e Exports) []string {
	return slices.Sorted(maps.Keys(e))
}
