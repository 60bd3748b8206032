package buildmatrix

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// emptyMatrix returns why nothing is to be built of what was asked for.
func (m *matrix) emptyMatrix(all int) error {
	if all > 0 && m.Group != (Group{}) {
		return fmt.Errorf("%s: group %s is empty: there are not that many builds", m.config.Path,
			m.Group)
	}
	if len(m.lock.Builds) == 0 {
		return fmt.Errorf("%s has no builds: run lpbuild download", config.LockName)
	}
	var why diag.List
	for _, arch := range m.config.Arch {
		for i := range m.config.Patches {
			if p := &m.config.Patches[i]; m.asked(arch) {
				message, hint := m.noBuild(p, arch)
				why = append(why, &diag.Diagnostic{Pos: p.Pos, Message: p.Description + ": " +
					message, Hint: hint})
			}
		}
	}
	return why.Err()
}

// noBuild returns why a patch is for no build of an architecture: the first condition that none of
// those meets that met all before it.
func (m *matrix) noBuild(p *config.Patch, arch symtab.Arch) (message, hint string) {
	const again = "correct it, or run lpbuild download if lpbuild.yaml has changed since"
	left := m.lock.Builds
	keep := func(ok func(b *download.Build) bool) bool {
		kept := slices.DeleteFunc(slices.Clone(left), func(b download.Build) bool {
			return !ok(&b)
		})
		if len(kept) > 0 {
			left = kept
		}
		return len(kept) > 0
	}
	switch {
	case !keep(func(b *download.Build) bool { return b.Arch == string(arch) }):
		return fmt.Sprintf("%s has no build for %s (\"arch\")", config.LockName, arch), again
	case !keep(func(b *download.Build) bool {
		return slices.ContainsFunc(m.config.Packages, func(p config.Package) bool {
			return p.Name == b.Name
		})
	}):
		var names, have []string
		for _, p := range m.config.Packages {
			names = append(names, p.Name)
		}
		for _, b := range left {
			have = append(have, b.Name)
		}
		hint = "run lpbuild download"
		if near := diag.Nearest(names[0], have, 1); len(names) == 1 && len(near) > 0 &&
			near[0] != names[0] {
			hint = fmt.Sprintf("run lpbuild download; or did you mean %s?", near[0])
		}
		return fmt.Sprintf("%s has no build of package %s", config.LockName,
			strings.Join(names, ", ")), hint
	case !keep(func(b *download.Build) bool { return len(b.LibrariesNamed(p.Library)) > 0 }):
		return fmt.Sprintf("no build in %s has the library %s (%s)", config.LockName, p.Library,
			librariesOf(left)), again
	case !keep(func(b *download.Build) bool {
		return slices.ContainsFunc(m.config.Packages, func(p config.Package) bool {
			return p.Name == b.Name && p.Builds.Contains(b.EVR())
		})
	}):
		return fmt.Sprintf("\"builds\" of \"packages\" holds none of %s in %s", span(left),
			config.LockName), again
	}
	return fmt.Sprintf("\"builds\" of the patch, %s, holds none of %s", p.Builds, span(left)),
		"for example: \">= 2.31-150300.9, < 2.38\""
}

// librariesOf lists what patches can be for.
func librariesOf(builds []download.Build) string {
	var names []string
	for _, b := range builds {
		for _, lib := range b.Libraries {
			names = append(names, lib.Name)
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) == 0 {
		return "nor any other that patches named"
	}
	return "they have " + strings.Join(names, ", ")
}

// span names the oldest and the youngest of some builds.
func span(builds []download.Build) string {
	order := func(a, b download.Build) int { return a.EVR().Compare(b.EVR()) }
	first, last := slices.MinFunc(builds, order), slices.MaxFunc(builds, order)
	if len(builds) == 1 {
		return first.EVR().String()
	}
	return fmt.Sprintf("the %d builds from %s to %s", len(builds), first.EVR(), last.EVR())
}
