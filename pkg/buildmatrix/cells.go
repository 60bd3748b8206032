package buildmatrix

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Cell is one live patch for one build.
type Cell struct {
	Patch   *config.Patch
	Build   *download.Build
	Library *download.Library
	Arch    symtab.Arch
}

// Cells returns the matrix: for each architecture and patch, in the order of the configuration, the
// builds of the lock that both the package's and the patch's version range hold, oldest first.
func Cells(c *config.Config, l *download.Lock) []Cell {
	var cells []Cell
	for _, arch := range c.Arch {
		for i := range c.Patches {
			for j := range l.Builds {
				for _, lib := range l.Builds[j].LibrariesNamed(c.Patches[i].Library) {
					if cell := (Cell{&c.Patches[i], &l.Builds[j], lib, arch}); cell.isWanted(c) {
						cells = append(cells, cell)
					}
				}
			}
		}
	}
	return cells
}

func (c *Cell) isWanted(cfg *config.Config) bool {
	evr := c.Build.EVR()
	return c.Build.Arch == string(c.Arch) && c.Patch.Builds.Contains(evr) &&
		slices.ContainsFunc(cfg.Packages, func(p config.Package) bool {
			return p.Name == c.Build.Name && p.Builds.Contains(evr)
		})
}

// Name identifies the cell in messages: patch, build and architecture.
func (c *Cell) Name() string {
	name := c.Patch.Description + " for " + c.Build.NEVRA()
	if v := c.variant(); v != "" {
		name += " (" + v + ")"
	}
	return name
}

// variant tells the cell from others of its version and release: by the build, where two have these
// (the lock names it), and by the kind of processor that the library is for, where a package has it
// once for each. "" as a rule.
func (c *Cell) variant() string {
	return strings.Join(slices.DeleteFunc([]string{c.Build.Twin, c.Library.Variant},
		func(s string) bool { return s == "" }), ".")
}

// expansion is what the description's placeholders stand for in this cell.
func (c *Cell) expansion() ulp.Expansion {
	return ulp.Expansion{
		Version: c.Build.Version, Release: c.Build.Release, Arch: c.Arch, Target: c.target(),
		Words: c.words(),
	}
}

// glibcWords are the libraries that older templates name by words.
var glibcWords = map[string]string{"LIBC": "libc.so.6", "LIBPTHREAD": "libpthread.so.0",
	"LIBRT": "librt.so.1"}

// words returns what those words stand for in a build of glibc: before release 2.34 libpthread and
// librt are libraries of their own, so that a description for one is not for another. nil
// elsewhere, where each is the library of the patch.
func (c *Cell) words() map[string]string {
	base := path.Base(c.target())
	if c.Build.Source != "glibc" || base != "libc.so.6" &&
		!slices.Contains(slices.Collect(maps.Values(glibcWords)), base) {
		return nil
	}
	words := map[string]string{}
	for word, library := range glibcWords {
		words[word] = path.Join(path.Dir(c.target()), download.Home(c.Build.Source, c.Build.EVR(),
			library))
	}
	return words
}

// target is how the library is named in the packed patch: the path inside the package for
// one that is named by its path, otherwise the base name in the directory where the dynamic linker
// finds it.
func (c *Cell) target() string {
	home := download.Home(c.Build.Source, c.Build.EVR(), c.Patch.Library)
	switch {
	case home[0] == '/':
		return home
	case c.Library.Variant != "":
		return path.Join(path.Dir(c.Library.Path), home)
	}
	return "/lib64/" + home
}
