package config

import "os"

// BuildDir is the directory for containers and report below a package directory.
const BuildDir = "build"

// StaysIn reports whether a file of a directory is in there, also by the symbolic links on its way.
func StaysIn(dir, name string) bool {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return false
	}
	defer root.Close()
	_, err = root.Stat(name)
	return err == nil
}
