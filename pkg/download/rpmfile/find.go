package rpmfile

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// maxLinks bounds the symbolic links that are followed, as in Linux.
const maxLinks = 40

// maxListed is the number of files that an error lists.
const maxListed = 8

// AmbiguousError means that a name matches several files of a package.
type AmbiguousError struct {
	Name  string
	Paths []string // at least two, sorted
}

// Error lists the files, or the first ones if there are many.
func (e *AmbiguousError) Error() string {
	if n := len(e.Paths) - maxListed; n > 0 {
		return fmt.Sprintf("%q could be %s or %d others: name one by its path", e.Name,
			strings.Join(e.Paths[:maxListed], ", "), n)
	}
	return fmt.Sprintf("%q could be %s: name one by its path", e.Name,
		strings.Join(e.Paths, " or "))
}

// Located is a file of a package that matches a name.
type Located struct {
	Path string // of the regular file
	// the processors it is for, "power9" or "x86-64-v3"; "" means all without a file of their own
	Variant string
}

// Find returns the first file of [RPM.Locate], for callers that only want to know whether there is
// one.
func (r *RPM) Find(name string) (path string, ok bool) {
	found, err := r.Locate(name)
	if err != nil {
		return "", false
	}
	return found[0].Path, true
}

// Locate returns the regular files in the package that name refers to, at least one, after
// following symbolic links within the package (up to glibc 2.33 libc.so.6 is one, to libc-2.31.so).
//
// A name with a slash is the path of one file; /lib and /usr/lib, and /lib64 and /usr/lib64, count
// as the same directory if the package has the file only in the other one. A name without a slash
// is the base name of a shared library in any directory below a lib directory, excluding separate
// debuginfo. If several directories have it, the one that the dynamic loader searches wins. Its
// file comes first, followed by those in its subdirectories that the loader prefers on some
// processors. Files in unrelated directories are an [*AmbiguousError]. If there is no such file,
// the error wraps [fs.ErrNotExist].
func (r *RPM) Locate(name string) ([]Located, error) {
	if strings.Contains(name, "/") {
		if i, ok := r.resolve(path.Join("/", name)); ok {
			return []Located{{r.files[i].Name, variantOf(path.Dir(path.Join("/", name))).name}}, nil
		}
		return nil, fmt.Errorf("%s has no file %q: %w", r.NEVRA(), name, fs.ErrNotExist)
	}
	var places []place
	for i := range r.files {
		f := &r.files[i]
		dir := path.Dir(f.Name)
		if f.ghost || path.Base(f.Name) != name || !isLibraryDir(dir) {
			continue
		}
		if end, ok := r.resolve(f.Name); ok {
			places = append(places, place{target: r.files[end].Name, dir: dir,
				variant: variantOf(dir)})
		}
	}
	if len(places) == 0 {
		return nil, fmt.Errorf("%s has no library %q: %w", r.NEVRA(), name, fs.ErrNotExist)
	}
	return choose(name, places)
}

// isLibraryDir reports whether dir is, or lies below, a directory for shared libraries.
func isLibraryDir(dir string) bool {
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

// index returns the file with that name, on either side of the merge of / and /usr.
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
