package buildmatrix

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/compile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// ownObject matches what the directory of compiled objects holds.
var ownObject = lazyregexp.New(`^[0-9a-f]{64}\.(so|json)$`)

// architectures are those that there can be directories of.
var architectures = []symtab.Arch{symtab.X86_64, symtab.PPC64LE, symtab.AArch64}

// containerFile matches the names that the gate lets containers have.
var containerFile = lazyregexp.New(`^[^.].*_livepatch[0-9]+\.so$`)

// halfWritten matches files that were being written when a build was killed: package atomicfile's
// names of what lpbuild writes below the build directory.
var halfWritten = lazyregexp.New(`^\.(.+_livepatch[0-9]+\.so|report\.json|features\.h|` +
	`[0-9a-f]{64}\.json)\.[0-9]+$`)

// halves returns what killed builds left half-written in some directories.
func halves(dirs ...string) []string {
	var names []string
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if e.Type().IsRegular() && halfWritten().MatchString(e.Name()) {
				names = append(names, filepath.Join(dir, e.Name()))
			}
		}
	}
	return names
}

// strayContainers returns the containers below a build directory that are not known: of a build
// whose report is lost, or that was killed. They are told from other people's files by name and
// content.
func strayContainers(dir string, known map[string]bool) []string {
	var names []string
	for _, arch := range architectures {
		entries, err := os.ReadDir(filepath.Join(dir, string(arch)))
		if err != nil {
			continue
		}
		for _, e := range entries {
			name := filepath.Join(dir, string(arch), e.Name())
			if e.Type().IsRegular() && containerFile().MatchString(e.Name()) && !known[name] &&
				isContainer(name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// isContainer reports whether a file is a packed live patch.
func isContainer(name string) bool {
	image, err := regularfile.Read(name, compile.MaxObject)
	if err != nil {
		return false
	}
	c, err := ulp.ParseContainer(image)
	if err != nil {
		return false
	}
	_, packed := c.Section(ulp.SectionMetadata)
	return packed
}

// Made returns what builds have written in a package directory, in the order in which it can be
// removed: a directory comes after what is in it.
func Made(c *config.Config) ([]string, error) {
	dir := filepath.Join(c.Dir, config.BuildDir)
	var names, dirs []string
	if r, err := ReadReport(dir); err == nil {
		for _, cell := range r.Containers() {
			names = append(names, filepath.Join(dir, cell.Arch, cell.Container))
		}
	} // else the containers themselves tell
	known := map[string]bool{}
	for _, name := range names {
		known[name] = true
	}
	names = append(names, strayContainers(dir, known)...)
	for _, arch := range architectures {
		names = append(names, halves(filepath.Join(dir, string(arch)))...)
	}
	for _, name := range names {
		if parent := filepath.Dir(name); !slices.Contains(dirs, parent) {
			dirs = append(dirs, parent)
		}
	}
	objects := filepath.Join(dir, compile.Dir)
	entries, err := os.ReadDir(objects)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		name := filepath.Join(objects, e.Name())
		switch {
		case ownObject().MatchString(e.Name()):
			names = append(names, name)
		case e.IsDir() && strings.HasPrefix(e.Name(), compile.TempPrefix):
			// of a build that was killed
			for _, made := range []string{"container.so", "linked", "assembled", "assembled.o"} {
				names = append(names, filepath.Join(name, made))
			}
			names = append(names, name)
		}
	}
	include := filepath.Join(objects, "include")
	names = append(names, halves(dir, objects, include)...)
	names = append(names, filepath.Join(include, "features.h"), include, objects,
		filepath.Join(dir, ReportName))
	return slices.Concat(names, dirs, []string{dir}), nil
}
