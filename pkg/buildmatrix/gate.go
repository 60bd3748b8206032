package buildmatrix

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/rpmver"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// gate returns every reason why a container cannot work in its build. No reason: everything that the catalogue can tell
// says that it will.
func gate(d *ulp.Description, c *ulp.Container, lib *ulp.Library, providers *providers) []Reason {
	reasons := reasonsOf(ulp.Check(d, c, lib))
	if c.TextRelocations {
		reasons = append(reasons, Reason{
			Code: "text-relocations", Message: "the container has text relocations: its code would have to be writable to be loaded",
			Hint: "compile every source with -fPIC; in assembly, address through the GOT",
		})
	}
	if c.ExecStack {
		reasons = append(reasons, Reason{
			Code: "executable-stack", Message: "the container asks for an executable stack, which it would force upon every process",
			Hint: "add \".section .note.GNU-stack,\\\"\\\",@progbits\" to assembly sources; do not take addresses of nested functions",
		})
	}
	return append(reasons, providers.missing(c, lib)...)
}

// reasonsOf turns an error of package ulp into reasons.
func reasonsOf(err error) []Reason {
	if err == nil {
		return nil
	}
	var list diag.List
	if !errors.As(err, &list) {
		return []Reason{{Code: codeOf(err), Message: err.Error(), Shown: diag.Render(err, false)}}
	}
	reasons := make([]Reason, len(list))
	for i, d := range list {
		reasons[i] = Reason{
			Code: codeOf(d), Where: d.String(), Message: d.Message, Hint: d.Hint, Shown: d.Render(false),
		}
	}
	return reasons
}

// providers is what the libraries that a container may need symbols from export.
type providers struct {
	own    exports   // libraries of the same build: exactly these will be there
	others []exports // other packages of the lock, build by build: any one of them may be there
}

// exports maps SONAMEs to their exported symbols: "name@VERSION", "name" without a version, and "@VERSION" for each
// version that is defined.
type exports map[string]map[string]bool

func newExports(list *download.ExportList) exports {
	e := make(exports, len(list.Libraries))
	for soname, lib := range list.Libraries {
		set := make(map[string]bool, len(lib.Symbols)+16)
		for _, s := range lib.Symbols {
			set[s] = true
			if name, version, ok := strings.Cut(s, "@"); ok {
				set[name], set["@"+version] = true, true
			}
		}
		e[soname] = set
	}
	return e
}

// has reports whether any library exports s.
func (e exports) has(s string) bool {
	for _, set := range e {
		if set[s] {
			return true
		}
	}
	return false
}

// missing returns a reason for each symbol and each version that the container needs and the build does not have.
func (p *providers) missing(c *ulp.Container, lib *ulp.Library) []Reason {
	var reasons []Reason
	refuse := func(code, hint, format string, args ...any) {
		reasons = append(reasons, Reason{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	reported := map[ulp.Need]bool{}
	for _, need := range c.Needs {
		if problem, hint := p.versionProblem(need, lib); problem != "" {
			reported[need] = true
			refuse("undefined-version", hint, "the container needs version %s of %s%s, and %s", need.Version, need.File, users(c, need), problem)
		}
	}
	for _, u := range c.Undefined() {
		if u.Weak || reported[ulp.Need{File: u.File, Version: u.Version}] {
			continue
		}
		if problem := p.symbolProblem(u); problem != "" {
			refuse("undefined-symbol", "name a static function or variable of the library by a reference (#variable:pointer); "+
				"a function that only newer builds have must be copied into the source", "%s", problem)
		}
	}
	return reasons
}

// users names the symbols that bring a version into the container.
func users(c *ulp.Container, need ulp.Need) string {
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

// versionProblem says what is wrong with a symbol version that the container's loader would ask a library for; "" if
// nothing is.
func (p *providers) versionProblem(need ulp.Need, lib *ulp.Library) (problem, hint string) {
	if set, ok := p.own[need.File]; ok {
		if !set["@"+need.Version] {
			return "this build's " + need.File + " has no such version", "the function is newer than the build: write the source against older interfaces"
		}
		return "", ""
	}
	known := false
	for _, other := range p.others {
		set, ok := other[need.File]
		known = known || ok
		if ok && !set["@"+need.Version] {
			return "a build of the package that has " + need.File + " has no such version", "write the source against older interfaces"
		}
	}
	if known || p.inheritedNeed(need, lib) {
		return "", ""
	}
	return fmt.Sprintf("neither this build's package nor another one in the lock contains %s; this build's %s itself needs no version of it as new as that",
		need.File, lib.Name), "add the package that contains " + need.File + " to \"packages\""
}

// inheritedNeed reports whether the library itself needs a version at least as new: then it is there wherever the library
// is. Version names of one series ("GLIBC_2.4", "GLIBC_2.34") are cumulative.
func (p *providers) inheritedNeed(need ulp.Need, lib *ulp.Library) bool {
	series, number := splitVersion(need.Version)
	return slices.ContainsFunc(lib.Needs, func(n ulp.Need) bool {
		s, v := splitVersion(n.Version)
		return n.File == need.File && (n.Version == need.Version || s == series && number != "" && v != "" && rpmver.Compare(number, v) <= 0)
	})
}

// splitVersion splits "GLIBC_2.34" into "GLIBC" and "2.34"; a version without a number has an empty one.
func splitVersion(version string) (series, number string) {
	i := strings.LastIndexByte(version, '_')
	if i < 0 || i+1 == len(version) || version[i+1] < '0' || version[i+1] > '9' {
		return version, ""
	}
	return version[:i], version[i+1:]
}

// symbolProblem says what is wrong with an undefined symbol; "" if nothing is.
func (p *providers) symbolProblem(u ulp.Undefined) string {
	name := u.Name
	if u.Version != "" {
		name += "@" + u.Version
	}
	set, own := p.own[u.File]
	if own && set[name] || p.own.has(name) {
		return ""
	}
	if p.everyOtherHas(u.File, name) {
		return ""
	}
	switch {
	case u.Version == "":
		return fmt.Sprintf("undefined symbol %s is exported by no library of this build", name)
	case own && set[u.Name]:
		return fmt.Sprintf("undefined symbol %s: this build's %s exports %s, but not in that version", name, u.File, u.Name)
	case own:
		return fmt.Sprintf("undefined symbol %s is not exported by this build's %s", name, u.File)
	case p.knows(u.File):
		return fmt.Sprintf("undefined symbol %s is not exported by any build of the package that has %s", name, u.File)
	}
	return "" // the library is in no package of the lock; its version has been judged
}

// everyOtherHas reports whether each build that may be beside this one and has the library exports the symbol: any of them
// may be installed. A symbol that names no library may come from any.
func (p *providers) everyOtherHas(soname, name string) bool {
	found := false
	for _, other := range p.others {
		if set, ok := other[soname]; ok && !set[name] || soname == "" && !other.has(name) {
			return false
		}
		found = found || other.has(name)
	}
	return found
}

func (p *providers) knows(soname string) bool {
	return slices.ContainsFunc(p.others, func(e exports) bool { _, ok := e[soname]; return ok })
}
