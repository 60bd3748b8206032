package engine

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// maxDepth bounds how deep directories are searched.
const maxDepth = 64

// IsPattern reports whether a name stands for several files: it has a "*" in it. Other special
// characters have a meaning only beside one, since names of containers may have brackets.
func IsPattern(name string) bool { return strings.Contains(name, "*") }

// Expand returns the shared objects ("*.so") of a directory whose names match a pattern such as
// "directory/*_livepatch1.so", and with recursive set those in directories below it. What comes of
// a name is directory/name. The order is that of people: numbers in names count as numbers, so that
// livepatch10 comes after livepatch2. Nothing that matches is an empty list.
func Expand(pattern string, recursive bool) ([]string, error) {
	e := expansion{names: newFileWildcard(filepath.Base(pattern)), recursive: recursive,
		seen: map[[2]uint64]bool{}}
	if strings.HasSuffix(pattern, "/") {
		return nil, fmt.Errorf("%s: no pattern behind the directory", pattern)
	}
	directory := filepath.Dir(pattern)
	if err := e.directory(directory, 0); err != nil {
		return nil, err
	}
	slices.SortFunc(e.files, naturally)
	return e.files, nil
}

type expansion struct {
	names     Wildcard
	recursive bool
	seen      map[[2]uint64]bool // directories, so that links in a circle end
	files     []string
}

// directory adds what is in a directory. Directories below that cannot be read are an error: what
// is in them would stay unpatched.
func (e *expansion) directory(directory string, depth int) error {
	info, err := os.Stat(directory)
	if err != nil {
		return fmt.Errorf("unable to open directory: %w", err)
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		id := [2]uint64{s.Dev, s.Ino}
		if e.seen[id] {
			return nil
		}
		e.seen[id] = true
	}
	if depth > maxDepth {
		return fmt.Errorf("%s: deeper than %d directories", directory, maxDepth)
	}
	entries, err := os.ReadDir(directory)
	if err != nil {
		return fmt.Errorf("unable to open directory: %w", err)
	}
	for _, entry := range entries {
		name := directory + "/" + entry.Name()
		switch info, err := os.Stat(name); {
		case err == nil && info.IsDir():
			if e.recursive {
				if err := e.directory(name, depth+1); err != nil {
					return err
				}
			}
		case filepath.Ext(name) == ".so" && e.names.Match(entry.Name()):
			if e.files = append(e.files, name); len(e.files) > maxContainers {
				return fmt.Errorf("%s: more than %d files", directory, maxContainers)
			}
		}
	}
	return nil
}

// naturally compares names such that numbers in them count as numbers.
func naturally(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		if !digit(x[0]) || !digit(y[0]) {
			if c := cmp.Compare(x[0], y[0]); c != 0 {
				return c
			}
			x, y = x[1:], y[1:]
			continue
		}
		m, n := digits(x), digits(y)
		i, j := strings.TrimLeft(x[:m], "0"), strings.TrimLeft(y[:n], "0")
		if c := cmp.Or(cmp.Compare(len(i), len(j)), cmp.Compare(i, j)); c != 0 {
			return c
		}
		x, y = x[m:], y[n:]
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(a, b))
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func digits(s string) int {
	if i := strings.IndexFunc(s, func(c rune) bool { return c < '0' || c > '9' }); i >= 0 {
		return i
	}
	return len(s)
}
