package hook

import (
	"os"
	"path/filepath"

	"github.com/lpbuild/lpbuild/pkg/atomicfile"
)

// A transactional update works on a snapshot in a chroot; what is installed there the running system does not see before it
// is booted. /var/livepatches is shared with it: there the live patches go, and from there they are applied.

// sharedFolder returns where the package's live patches are put aside.
func (r *Request) sharedFolder() installed {
	return installed{r.Package, r.Version, r.path(sharedDir), []string{r.Package, r.Version, sharedLeaf}}
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
		image, err := os.ReadFile(file)
		if err != nil {
			return to, err
		}
		if err := atomicfile.Write(filepath.Join(to.dir(), name), image, 0o755); err != nil {
			return to, err
		}
		keep[name] = true
	}
	if err := removeContainers(to.dir(), keep); err != nil {
		return to, err
	}
	return to, r.dropShared(r.Version)
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
		if name := e.Name(); containerName.MatchString(name) && !keep[name] {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// unshare removes what was put aside of all versions of the package: nothing applies it any more.
func (r *Request) unshare() error {
	if r.DryRun {
		return nil
	}
	return r.dropShared("")
}

// dropShared removes the live patches that were put aside of all versions but one.
func (r *Request) dropShared(keep string) error {
	base := r.path(sharedDir)
	for _, version := range names(filepath.Join(base, r.Package)) {
		dir := filepath.Join(base, r.Package, version, sharedLeaf)
		if version == keep || ownBelow(base, r.Package, version, sharedLeaf) != nil {
			continue
		}
		if err := removeContainers(dir, nil); err != nil {
			return err
		}
		_ = os.Remove(dir) // if nobody has put anything else there
		_ = os.Remove(filepath.Dir(dir))
	}
	_ = os.Remove(filepath.Join(base, r.Package))
	return nil
}
