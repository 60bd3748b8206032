package buildmatrix

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/lpbuild/lpbuild/internal/atomicfile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// InstallDir returns where a package has its containers on the customer's machine.
func InstallDir(c *config.Config) string { return filepath.Join("/usr/lib64", c.Name, c.Version) }

// Install copies the containers of the last build, for some architectures (nil: those configured),
// to their places below root. They are executable: RPM before 4.17 finds out what a shared object
// provides only then.
func Install(c *config.Config, only []symtab.Arch, root string) ([]string, error) {
	dir := filepath.Join(c.Dir, config.BuildDir)
	r, err := ReadReport(dir)
	if err != nil {
		return nil, fmt.Errorf("nothing to install: %w: run lpbuild build first", err)
	}
	if r.Name != c.Name || r.Version != c.Version {
		return nil, fmt.Errorf("the last build was of %s %s, not of %s %s: run lpbuild build again",
			r.Name, r.Version, c.Name, c.Version)
	}
	wanted := map[string]bool{}
	if len(only) == 0 {
		only = c.Arch
	}
	for _, arch := range only {
		wanted[string(arch)] = true
	}
	if len(only) > 1 {
		return nil, fmt.Errorf("containers of %v have one place: install one architecture, with "+
			"--arch", only)
	}
	r.Cells = slices.DeleteFunc(r.Cells, func(c CellInfo) bool { return !wanted[c.Arch] })
	if n := r.Count(Refused, Failed); n > 0 {
		return nil, fmt.Errorf("%w: %d of %d cells: see lpbuild build", ErrRefused, n, len(r.Cells))
	}
	if len(r.Containers()) == 0 {
		return nil, fmt.Errorf("nothing to install for %v: run lpbuild build first", only)
	}
	return installAll(r.Containers(), dir, filepath.Join(root, InstallDir(c)))
}

// installAll copies containers from the build directory to a place: all or, if one of them is not
// what was built, none.
func installAll(cells []CellInfo, dir, place string) (names []string, err error) {
	defer func() {
		if err != nil {
			for _, name := range names {
				_ = os.Remove(name) // the first error is the one that matters
			}
			names = nil
		}
	}()
	images := make([][]byte, len(cells))
	for i, cell := range cells {
		if images[i], err = readMade(filepath.Join(dir, cell.Arch, cell.Container),
			cell); err != nil {
			return nil, err
		}
	}
	for i, cell := range cells {
		name := filepath.Join(place, cell.Container)
		if err := atomicfile.Write(name, images[i], 0o755); err != nil {
			return names, err
		}
		names = append(names, name)
	}
	return names, nil
}
