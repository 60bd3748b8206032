package hook

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/rpmver"
)

// Directories of packages' live patches, and where a transactional update puts them: below
// PACKAGE/VERSION.
const (
	packagesDir = "usr/lib64"
	sharedDir   = "var/livepatches"
	sharedLeaf  = "lp"
)

// containerName matches the file name of a live patch; other files in a directory do not belong to
// lpbuild.
var containerName = lazyregexp.New(`^[^/]+_livepatch[0-9]+\.so$`)

// errWritable means that users other than root could have put something in a place.
var errWritable = errors.New("users other than root can write to it")

// own rejects a file or directory that is a link, or that anybody but root and the current user can
// write to.
func own(name string, dir bool) error {
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	return ownInfo(name, info, dir)
}

// ownInfo is own for a file that is open, or that was just examined.
func ownInfo(name string, info fs.FileInfo, dir bool) error {
	s, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s: a symbolic link is not followed", name)
	case dir && !info.IsDir():
		return fmt.Errorf("%s: not a directory", name)
	case !dir && !info.Mode().IsRegular():
		return fmt.Errorf("%s: not a regular file", name)
	case !ok || s.Uid != 0 && s.Uid != uint32(os.Geteuid()), info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s: %w", name, errWritable)
	}
	return nil
}

// ownBelow checks each directory from below a root down to a path.
func ownBelow(root string, elements ...string) error {
	at := root
	for element := range strings.SplitSeq(filepath.Join(elements...), "/") {
		at = filepath.Join(at, element)
		if err := own(at, true); err != nil {
			return err
		}
	}
	return nil
}

// containerFiles returns the live patches in a directory below root, and why others are left out.
// The directories above the package's belong to the system, and may be links there.
func containerFiles(base string, elements ...string) (files []string, bad []*engine.FileError,
	err error) {
	if err := ownBelow(base, elements...); err != nil {
		return nil, nil, err
	}
	dir := filepath.Join(append([]string{base}, elements...)...)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if !containerName().MatchString(e.Name()) {
			continue
		}
		name := filepath.Join(dir, e.Name())
		if err := own(name, false); err != nil {
			bad = append(bad, &engine.FileError{File: name,
				Err: errors.New(strings.TrimPrefix(err.Error(), name+": "))})
			continue
		}
		files = append(files, name)
	}
	return files, bad, nil
}

// installed is the directory of an installed package.
type installed struct {
	pkg, version string
	base         string   // the system's directory
	elements     []string // below base
}

func (i installed) dir() string { return filepath.Join(append([]string{i.base}, i.elements...)...) }

// newest returns the directory of each package's newest version, for all packages that have live
// patches in the running system, sorted by name. Live patches put aside by a transactional update
// since the last boot take precedence over those in the package.
func (r *Request) newest() []installed {
	found := map[string]installed{}
	base := r.hostPath(packagesDir)
	for _, pkg := range names(base) {
		for _, version := range names(filepath.Join(base, pkg)) {
			i := installed{pkg, version, base, []string{pkg, version}}
			if !hasContainers(i.dir()) {
				continue
			}
			if other, ok := found[pkg]; !ok || rpmver.Compare(other.version, version) <= 0 {
				found[pkg] = i
			}
		}
	}
	base = r.hostPath(sharedDir)
	for _, pkg := range names(base) {
		n, ok := r.next(pkg)
		if !ok || !r.isNext(n) {
			continue
		}
		delete(found, pkg)
		if i := (installed{pkg, n.version, base,
			[]string{pkg, n.version, sharedLeaf}}); n.version != noVersion &&
			hasContainers(i.dir()) {
			found[pkg] = i
		}
	}
	list := make([]installed, 0, len(found))
	for _, i := range found {
		list = append(list, i)
	}
	slices.SortFunc(list, func(a, b installed) int { return cmp.Compare(a.pkg, b.pkg) })
	return list
}

// names returns the subdirectories of a directory that have plain names.
func names(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range entries {
		if e.IsDir() && checkName("directory", e.Name()) == nil {
			list = append(list, e.Name())
		}
	}
	return list
}

func hasContainers(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return containerName().MatchString(e.Name())
	})
}
