package hook

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/lpbuild/lpbuild/internal/regularfile"
)

// A transactional update works on a snapshot in a chroot, whose packages the running system does
// not see before it boots the snapshot. So the live patches go into the running system's
// /var/livepatches, and are applied from there.

// asideDir returns the directory in which the package's live patches are put aside.
func (r *Request) asideDir() installed {
	return installed{r.Package, r.Version, r.hostPath(sharedDir),
		[]string{r.Package, r.Version, sharedLeaf}}
}

// share puts the live patches of the package aside, and removes those that are there under other
// names.
func (r *Request) share() (installed, error) {
	to := r.asideDir()
	files, _, err := containerFiles(r.path(packagesDir), r.Package, r.Version)
	if err != nil {
		return to, err
	}
	if err := makeOwn(to.base, to.elements...); err != nil {
		return to, err
	}
	keep := map[string]bool{}
	for _, file := range files {
		name := filepath.Base(file)
		image, err := regularfile.Read(file, maxLibrary)
		if err != nil {
			return to, err
		}
		if err := copyTo(filepath.Join(to.dir(), name), image, file); err != nil {
			return to, err
		}
		keep[name] = true
	}
	if err := removeContainers(to.dir(), keep); err != nil {
		return to, err
	}
	if err := r.putNext(r.Version); err != nil {
		return to, err
	}
	return to, r.dropVersions(r.Package, r.Version)
}

// shareNothing records that the next boot has nothing of the package. Otherwise the timer would
// bring back reverted live patches that the running snapshot still has.
func (r *Request) shareNothing() error {
	if err := makeOwn(r.hostPath(sharedDir), r.Package); err != nil {
		return err
	}
	return errors.Join(r.putNext(noVersion), r.dropVersions(r.Package, ""))
}

// makeOwn makes directories below a base that only root can write to, and the base itself. Existing
// ones must have that property.
func makeOwn(base string, elements ...string) error {
	at := base
	for _, element := range append([]string{""}, elements...) {
		at = filepath.Join(at, element)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.Mkdir(at, 0o755); err != nil && !os.IsExist(err) {
			return err
		}
		if err := own(at, true); err != nil {
			return err
		}
	}
	return nil
}

// removeContainers removes live patches from a directory, but no other files.
func removeContainers(dir string, keep map[string]bool) error {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name := e.Name(); containerName().MatchString(name) && !keep[name] {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// unshare removes the files that were put aside for all versions of the package, which nothing
// applies any more. Files of others stay.
func (r *Request) unshare(ctx context.Context) error {
	if _, ok := r.next(r.Package); !ok || r.DryRun {
		return nil
	}
	dropped, err := r.dropLibraries(r.Package)
	if dropped {
		err = errors.Join(err, r.tellLinker(ctx))
	}
	return errors.Join(err, r.dropShared(r.Package))
}

// dropShared removes the files that were put aside for a package, and the record of them.
func (r *Request) dropShared(pkg string) error {
	base := r.hostPath(sharedDir)
	if err := ownBelow(base, pkg); err != nil {
		return err
	}
	if err := r.dropVersions(pkg, ""); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(base, pkg, nextFile)); err != nil && !os.IsNotExist(err) {
		return err
	}
	_ = os.Remove(filepath.Join(base, pkg)) // unless there are other files
	return nil
}

// dropVersions removes the live patches that were put aside for all versions of a package but one.
func (r *Request) dropVersions(pkg, keep string) error {
	base := r.hostPath(sharedDir)
	for _, version := range names(filepath.Join(base, pkg)) {
		dir := filepath.Join(base, pkg, version, sharedLeaf)
		if version == keep || ownBelow(base, pkg, version, sharedLeaf) != nil {
			continue
		}
		if err := removeContainers(dir, nil); err != nil {
			return err
		}
		_ = os.Remove(dir) // unless there are other files
		_ = os.Remove(filepath.Dir(dir))
	}
	return nil
}

// tidy removes what transactional updates had put aside before the last boot: live patches, and
// libraries for the processes that started until then.
func (r *Request) tidy(ctx context.Context) error {
	var errs []error
	libraries := false
	for _, pkg := range names(r.hostPath(sharedDir)) {
		if n, ok := r.next(pkg); !ok || r.isNext(n) {
			continue
		}
		dropped, err := r.dropLibraries(pkg)
		libraries = libraries || dropped
		errs = append(errs, err, r.dropShared(pkg))
	}
	if libraries {
		errs = append(errs, r.tellLinker(ctx))
	}
	return errors.Join(errs...)
}
