package hook

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/lpbuild/lpbuild/internal/regularfile"
)

// A transactional update works on a snapshot in a chroot; what is installed there the running system does not see before it
// is booted. So the live patches go into the running system's /var/livepatches, and are applied from there.

// sharedFolder returns where the package's live patches are put aside.
func (r *Request) sharedFolder() installed {
	return installed{r.Package, r.Version, r.hostPath(sharedDir), []string{r.Package, r.Version, sharedLeaf}}
}

// share puts the live patches of the package aside, and takes away what is there of them already under other names.
func (r *Request) share() (installed, error) {
	to := r.sharedFolder()
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

// shareNothing notes that the next boot has nothing of the package: so the timer does not bring back what was reverted from
// what the running snapshot still has of it.
func (r *Request) shareNothing() error {
	if err := makeOwn(r.hostPath(sharedDir), r.Package); err != nil {
		return err
	}
	return errors.Join(r.putNext(noVersion), r.dropVersions(r.Package, ""))
}

// makeOwn makes folders below a base that only root can write, and the base itself. Those that are there must be such.
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

// removeContainers removes live patches from a folder; other files stay.
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

// unshare removes what was put aside of all versions of the package: nothing applies it any more. What somebody else put there
// stays.
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

// dropShared removes what was put aside of a package, and the note of it.
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
	_ = os.Remove(filepath.Join(base, pkg)) // if nobody has put anything else there
	return nil
}

// dropVersions removes the live patches that were put aside of all versions of a package but one.
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
		_ = os.Remove(dir) // if nobody has put anything else there
		_ = os.Remove(filepath.Dir(dir))
	}
	return nil
}

// tidy clears away what transactional updates had put aside before the machine was booted: live patches, and libraries for the
// processes that began until then.
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
