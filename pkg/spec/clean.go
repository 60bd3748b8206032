package spec

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix"
)

// Clean removes what build and dist made in a package folder, by name: files that they did not make stay, and with them
// the folders that they are in. It returns what it removed.
func Clean(c *buildmatrix.Config) ([]string, error) {
	var names []string
	made, err := buildmatrix.Made(c)
	if err != nil {
		return nil, err
	}
	dist := filepath.Join(c.Dir, DistDir)
	if names, err = archivesOf(dist, c.Name); err != nil {
		return nil, err
	}
	names = append(names, filepath.Join(dist, c.Name+".spec"), filepath.Join(dist, c.Name+".changes"),
		filepath.Join(dist, c.Name+"-rpmlintrc"), dist)
	var removed []string
	for _, name := range append(made, names...) {
		err := os.Remove(name)
		if err == nil {
			removed = append(removed, name)
		} else if !errors.Is(err, fs.ErrNotExist) && !isNotEmpty(name) {
			return removed, err
		}
	}
	return removed, nil
}

// isNotEmpty reports whether name is a folder in which something is left: somebody else's.
func isNotEmpty(name string) bool {
	entries, err := os.ReadDir(name)
	return err == nil && len(entries) > 0
}
