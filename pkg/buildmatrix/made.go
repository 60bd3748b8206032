package buildmatrix

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// ownObject matches what the folder of compiled objects holds.
var ownObject = regexp.MustCompile(`^[0-9a-f]{64}\.(so|json)$`)

// Made returns what builds have written in a package folder, in the order in which it can be removed: a folder comes after
// what is in it.
func Made(c *Config) ([]string, error) {
	dir := filepath.Join(c.Dir, BuildDir)
	var names, folders []string
	r, err := ReadReport(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if r != nil {
		for _, cell := range r.Containers() {
			names = append(names, filepath.Join(dir, cell.Arch, cell.Container))
			if folder := filepath.Join(dir, cell.Arch); !slices.Contains(folders, folder) {
				folders = append(folders, folder)
			}
		}
	}
	objects := filepath.Join(dir, objectsDir)
	entries, err := os.ReadDir(objects)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		name := filepath.Join(objects, e.Name())
		switch {
		case ownObject.MatchString(e.Name()):
			names = append(names, name)
		case e.IsDir() && strings.HasPrefix(e.Name(), tempPrefix): // of a build that was killed
			names = append(names, filepath.Join(name, "container.so"), filepath.Join(name, "linked"), name)
		}
	}
	include := filepath.Join(objects, "include")
	names = append(names, filepath.Join(include, "features.h"), include, objects, filepath.Join(dir, ReportName))
	return slices.Concat(names, folders, []string{dir}), nil
}
