package rpmfile

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// maxLinks bounds how many symbolic links are followed, as in Linux.
const maxLinks = 40

// preferred are the folders that the dynamic loader looks into, the first ones first.
var preferred = []string{"/lib64", "/usr/lib64", "/lib", "/usr/lib"}

// AmbiguousError says that several files of a package have a name.
type AmbiguousError struct {
	Name  string
	Paths []string // at least two, sorted
}

// Error lists the files.
func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%q could be %s: name one by its path", e.Name, strings.Join(e.Paths, " or "))
}

// Find is [RPM.Locate] for those who only want to know whether there is such a file.
func (r *RPM) Find(name string) (path string, ok bool) {
	path, err := r.Locate(name)
	return path, err == nil
}

// Locate returns the path of the regular file in the package that name means, after following symbolic links within the
// package (up to glibc 2.33 libc.so.6 is one, to libc-2.31.so).
//
// A name with a slash is a path; /lib and /usr/lib, and /lib64 and /usr/lib64, are the same folder where the package has
// the file in the other one. A name without one is a shared library's base name in any folder below a lib folder, other
// than separate debuginfo; of several, the one in a folder that the dynamic loader searches is meant, else there is
// an [*AmbiguousError]. Where there is no such file, the error wraps [fs.ErrNotExist].
func (r *RPM) Locate(name string) (string, error) {
	if strings.Contains(name, "/") {
		if i, ok := r.resolve(path.Join("/", name)); ok {
			return r.files[i].Name, nil
		}
		return "", fmt.Errorf("%s has no file %q: %w", r.NEVRA(), name, fs.ErrNotExist)
	}
	dirs := map[string][]string{} // of each file, the folders in which the name leads to it
	for i := range r.files {
		f := &r.files[i]
		if f.ghost || path.Base(f.Name) != name || !libraryFolder(path.Dir(f.Name)) {
			continue
		}
		if end, ok := r.resolve(f.Name); ok {
			target := r.files[end].Name
			dirs[target] = append(dirs[target], path.Dir(f.Name))
		}
	}
	return r.choose(name, dirs)
}

// choose returns the file that is meant, by the folders in which the name leads to it.
func (r *RPM) choose(name string, dirs map[string][]string) (string, error) {
	var paths []string
	for target := range dirs {
		paths = append(paths, target)
	}
	slices.Sort(paths)
	switch len(paths) {
	case 0:
		return "", fmt.Errorf("%s has no library %q: %w", r.NEVRA(), name, fs.ErrNotExist)
	case 1:
		return paths[0], nil
	}
	for _, dir := range preferred {
		for _, target := range paths {
			if slices.Contains(dirs[target], dir) {
				return target, nil
			}
		}
	}
	return "", &AmbiguousError{name, paths}
}

// libraryFolder reports whether dir is, or lies below, a folder for shared libraries.
func libraryFolder(dir string) bool {
	if dir == "/usr/lib/debug" || strings.HasPrefix(dir, "/usr/lib/debug/") {
		return false
	}
	for element := range strings.SplitSeq(dir, "/") {
		switch element {
		case "lib", "lib64", "lib32", "libx32":
			return true
		}
	}
	return false
}

// resolve follows name to a regular file in the package.
func (r *RPM) resolve(name string) (index int, ok bool) {
	for range maxLinks {
		i, ok := r.index(name)
		if !ok || r.files[i].ghost {
			return 0, false
		}
		f := &r.files[i]
		switch {
		case f.Mode.IsRegular():
			return i, true
		case f.Mode.Type() != fs.ModeSymlink || f.Link == "" || len(f.Link) > maxPath:
			return 0, false
		case strings.HasPrefix(f.Link, "/"):
			name = path.Clean(f.Link)
		default:
			name = path.Join(path.Dir(f.Name), f.Link)
		}
	}
	return 0, false
}

// index returns the file of that name, there or on the other side of the merge of / and /usr.
func (r *RPM) index(name string) (int, bool) {
	if i, ok := r.byName[name]; ok {
		return i, true
	}
	other, merged := strings.CutPrefix(name, "/usr")
	if !merged {
		other = "/usr" + name
	}
	if !strings.HasPrefix(strings.TrimPrefix(other, "/usr"), "/lib") {
		return 0, false
	}
	i, ok := r.byName[other]
	return i, ok
}
