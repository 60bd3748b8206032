package hook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// A transactional update changes libraries only in a snapshot: programs that the running system
// starts have the old ones, and their vulnerabilities, until the next boot. So the snapshot's
// library is put into
//
//	/var/livepatches/PACKAGE/VERSION/lib/LIBRARY
//
// and the running system's dynamic linker is told to use it, if the package has a live patch for
// the old build and none for the new one: then the new one has the same fixes. The library is tried
// before any program gets it, and removed after the boot.
const libsLeaf = "lib"

// maxLibrary bounds the size of a library, in bytes.
const maxLibrary = 256 << 20

// libraryDirs are the places where a system has its libraries, 64-bit ones first.
var libraryDirs = []string{"lib64", "usr/lib64", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu",
	"usr/lib/powerpc64le-linux-gnu"}

// moveLibs gives programs that start in the running system the snapshot's library.
func (r *Request) moveLibs(ctx context.Context, o *Outcome) error {
	o.Quiet = true
	if !r.Transactional || r.host == r.Root {
		o.Nothing = "not a transactional update"
		return nil
	}
	coming, running, err := r.newLibrary(ctx, o)
	if err != nil || coming == nil {
		return err
	}
	if err := r.putLibrary(coming.file, running.file); err != nil {
		return errors.Join(err, r.dropLibrary("", r.Library), r.tellLinker(ctx))
	}
	moved := filepath.Join("/", sharedDir, r.Package, r.Version, libsLeaf, r.Library)
	if err := r.try(ctx, moved); err != nil {
		return errors.Join(err, r.dropLibrary("", r.Library), r.tellLinker(ctx))
	}
	o.Nothing = "libraries would be moved"
	o.note("new processes get %s", moved)
	return r.tellLinker(ctx)
}

// newLibrary returns the snapshot's library and the one it replaces, or nil if it is not to be
// moved; the outcome then says why.
func (r *Request) newLibrary(ctx context.Context,
	o *Outcome) (coming, running *library, err error) {
	if running, err = installedLibrary(r.host, r.Library); err == nil {
		coming, err = installedLibrary(r.Root, r.Library)
	}
	if err != nil {
		o.Nothing = err.Error()
		return nil, nil, nil // a missing library needs no fix
	}
	if slices.Equal(running.BuildID, coming.BuildID) {
		o.Nothing = r.Library + " remains unchanged"
		return nil, nil, nil
	}
	if running.variants() {
		o.Nothing = "the running system has one " + r.Library +
			" for each kind of processor, and its ld.so prefers these"
		return nil, nil, nil
	}
	cs, err := r.readDirs(ctx, []installed{{r.Package, r.Version, r.path(packagesDir),
		[]string{r.Package, r.Version}}}, &Outcome{})
	if err != nil {
		return nil, nil, err
	}
	patches := func(l *library) bool {
		for _, c := range cs.List {
			if slices.Equal(c.Target().BuildID, l.BuildID) {
				return true
			}
		}
		return false
	}
	switch {
	case !patches(running):
		o.Nothing = "the package has no live patch for the " + r.Library + " of the running system"
	case patches(coming):
		o.Nothing = "the new " + r.Library + " itself needs live patches"
	default:
		return coming, running, standsFor(coming, running)
	}
	return nil, nil, nil
}

// library is a library of a system, and the path by which this process reaches it.
type library struct {
	*symtab.Library
	file string
}

// variants reports whether there are builds of it for other kinds of processors.
func (l *library) variants() bool {
	found, err := filepath.Glob(filepath.Join(filepath.Dir(l.file), "glibc-hwcaps", "*",
		filepath.Base(l.file)))
	return err == nil && len(found) > 0
}

// installedLibrary reads a library of a system.
func installedLibrary(root, name string) (*library, error) {
	for _, dir := range libraryDirs {
		if err := plain(root, filepath.Join(dir, name)); err != nil {
			return nil, err
		}
		file := filepath.Join(root, dir, name)
		if l, err := symtab.OpenLibrary(file, symtab.LibraryOptions{}); err == nil &&
			len(l.BuildID) > 0 {
			return &library{l, file}, nil
		}
	}
	return nil, fmt.Errorf("%s is not among the libraries of the system", name)
}

// standsFor rejects a library that cannot replace another one, since programs would no longer
// start.
func standsFor(l, other *library) error {
	if l.Arch != other.Arch || l.SONAME != other.SONAME {
		return fmt.Errorf("the new library is %s for %s, but the running system's is %s for %s: "+
			"it is not used", l.SONAME, l.Arch, other.SONAME, other.Arch)
	}
	has := map[string]bool{}
	for s := range l.Symbols() {
		if s.IsExported() {
			has[s.Name+"@"+s.Version] = true
		}
	}
	for s := range other.Symbols() {
		if s.IsExported() && !has[s.Name+"@"+s.Version] {
			return fmt.Errorf("the new %s does not export %s@%s as the running system's does: it "+
				"is not used", l.SONAME, s.Name, s.Version)
		}
	}
	return nil
}

// putLibrary copies a library to the directory that the dynamic linker searches, with the label of
// another one, and removes it from other versions.
func (r *Request) putLibrary(file, label string) error {
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() ||
		info.Size() > maxLibrary {
		return errors.Join(err, fmt.Errorf("%s is not a file of a plausible size: it is not used",
			file))
	}
	image, err := regularfile.Read(file, maxLibrary)
	if err != nil {
		return err
	}
	base := r.hostPath(sharedDir)
	if err := makeOwn(base, r.Package, r.Version, libsLeaf); err != nil {
		return err
	}
	if err := copyTo(filepath.Join(base, r.Package, r.Version, libsLeaf, r.Library), image,
		label); err != nil {
		return err
	}
	return errors.Join(r.putNext(r.Version), r.dropLibrary(r.Version, r.Library))
}

// try starts a program of the running system with a library before all programs get it. All symbols
// are resolved at once.
func (r *Request) try(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	for _, program := range []string{"/usr/bin/true", "/bin/true"} {
		if _, err := os.Stat(r.hostPath(program)); err != nil {
			continue
		}
		cmd := exec.CommandContext(ctx, program)
		cmd.Dir, cmd.Env, cmd.WaitDelay = "/", []string{"LD_PRELOAD=" + path, "LD_BIND_NOW=1"},
			time.Second
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: r.host}
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			return fmt.Errorf("%s does not run with %s: it is not used: %w: %.200s", program, path,
				errors.Join(err, errTrial), out)
		}
		return nil
	}
	return fmt.Errorf("no /usr/bin/true to try %s with: it is not used: %w", path, errTrial)
}

// tryTime is how long a program that does nothing may take.
const tryTime = 5 * time.Second

// errTrial means that a library did not prove to work.
var errTrial = errors.New("the trial failed")

// removeLibs removes the snapshot's library: all of them when the package is erased or, when called
// by the old package in an upgrade, that of its version alone.
func (r *Request) removeLibs(ctx context.Context, o *Outcome) error {
	o.Nothing, o.Quiet = "this version has no libraries of a snapshot left", true
	base := r.hostPath(sharedDir)
	if _, err := os.Lstat(filepath.Join(base, r.Package)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := ownBelow(base, r.Package); err != nil {
		return err
	}
	if r.Count == 0 {
		if err := r.dropLibrary("", r.Library); err != nil {
			return err
		}
	} else if ownBelow(base, r.Package, r.Version, libsLeaf) == nil {
		dir := filepath.Join(base, r.Package, r.Version, libsLeaf)
		_ = os.Remove(filepath.Join(dir, r.Library))
		_ = os.Remove(dir)
	}
	return r.tellLinker(ctx)
}

// dropLibrary removes a library from all versions of the package but one.
func (r *Request) dropLibrary(keep, library string) error {
	_, err := r.dropFiles(r.Package, keep, library)
	return err
}

// dropLibraries removes all libraries of a package, and reports whether there were any.
func (r *Request) dropLibraries(pkg string) (bool, error) { return r.dropFiles(pkg, "", "") }

// dropFiles removes a library, or with "" all of them, from all versions of a package but one.
func (r *Request) dropFiles(pkg, keep, library string) (dropped bool, err error) {
	base := r.hostPath(sharedDir)
	for _, version := range names(filepath.Join(base, pkg)) {
		dir := filepath.Join(base, pkg, version, libsLeaf)
		if version == keep || ownBelow(base, pkg, version, libsLeaf) != nil {
			continue
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return dropped, err
		}
		for _, e := range entries {
			if name := e.Name(); name != library && (library != "" || !e.Type().IsRegular() ||
				checkName("library", name) != nil) {
				continue
			}
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return dropped, err
			}
			dropped = true
		}
		_ = os.Remove(dir) // if it was the last one
		_ = os.Remove(filepath.Dir(dir))
	}
	return dropped, nil
}
