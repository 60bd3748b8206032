package config

import "os"

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
