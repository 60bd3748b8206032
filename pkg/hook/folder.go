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

// Where packages have their live patches, and where a transactional update puts them: below PACKAGE/VERSION.
const (
	packagesDir = "usr/lib64"
	sharedDir   = "var/livepatches"
	sharedLeaf  = "lp"
)

// containerName is what the file of a live patch is called; what else is in a folder is somebody else's.
var containerName = lazyregexp.New(`^[^/]+_livepatch[0-9]+\.so$`)

// errWritable says that somebody could have put into a place what root did not.
var errWritable = errors.New("others than root can write it")

// own refuses a file or folder that is a link, or that anybody but root and the user who runs this can write.
func own(name string, folder bool) error {
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	return ownInfo(name, info, folder)
}

// ownInfo is own for a file that is open, or was just looked at.
func ownInfo(name string, info fs.FileInfo, folder bool) error {
	s, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s: a symbolic link is not followed", name)
	case folder && !info.IsDir():
		return fmt.Errorf("%s: not a folder", name)
	case !folder && !info.Mode().IsRegular():
		return fmt.Errorf("%s: not a regular file", name)
	case !ok || s.Uid != 0 && s.Uid != uint32(os.Geteuid()), info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s: %w", name, errWritable)
	}
	return nil
}

// ownBelow checks each folder from below a root down to a path.
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

// containerFiles returns the live patches in a folder below root, and why others are left out. The folders that lead to the
// package's are the system's, and may be links there.
func containerFiles(base string, elements ...string) (files []string, bad []*engine.FileError, err error) {
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
			bad = append(bad, &engine.FileError{File: name, Err: errors.New(strings.TrimPrefix(err.Error(), name+": "))})
			continue
		}
		files = append(files, name)
	}
	return files, bad, nil
}

// installed is the folder of an installed package.
type installed struct {
	pkg, version string
	base         string   // the system's folder
	elements     []string // below it
}

func (i installed) dir() string { return filepath.Join(append([]string{i.base}, i.elements...)...) }

// newest returns for each package that has live patches in the running system the folder of its newest version, in the order of
// their names. What a transactional update has put aside since the last boot comes before what is in the package.
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
		if i := (installed{pkg, n.version, base, []string{pkg, n.version, sharedLeaf}}); n.version != noVersion && hasContainers(i.dir()) {
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

// names returns the folders in a folder that have plain names.
func names(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range entries {
		if e.IsDir() && checkName("folder", e.Name()) == nil {
			list = append(list, e.Name())
		}
	}
	return list
}

func hasContainers(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return containerName().MatchString(e.Name()) })
}
