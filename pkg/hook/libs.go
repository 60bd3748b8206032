package hook

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lpbuild/lpbuild/pkg/atomicfile"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// A package may carry whole patched libraries beside its live patches, one for each build that it knows:
//
//	/usr/lib64/PACKAGE/VERSION/lib/BUILD-ID/LIBRARY
//
// On a transactional system, where the library itself can only change with the next boot, that for the installed build is put
// into /var/livepatches/PACKAGE/VERSION/lib, and the dynamic linker is told: so programs that start from then on have the fix.
const libsLeaf = "lib"

// linkerConf lists the folders with patched libraries; the system's file includes it by includeLine.
const (
	linkerConf  = "var/livepatches/ld.so.conf"
	systemConf  = "etc/ld.so.conf"
	includeLine = "include /" + linkerConf
	maxConf     = 1 << 20 // bytes of either
)

// libraryFolders are where a system has its libraries, 64-bit ones first.
var libraryFolders = []string{"lib64", "usr/lib64", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "usr/lib/powerpc64le-linux-gnu"}

// moveLibs puts the patched library for the installed build aside and tells the dynamic linker.
func (r *Request) moveLibs(ctx context.Context, o *Outcome) error {
	o.Quiet = true
	if !r.Transactional {
		o.Nothing = "no transactional update"
		return nil
	}
	if _, err := os.Lstat(r.path(packagesDir, r.Package, r.Version, libsLeaf)); errors.Is(err, os.ErrNotExist) {
		o.Nothing = "the package has no libraries"
		return nil
	}
	file, err := r.patchedLibrary()
	switch {
	case err != nil:
		o.Nothing, o.Quiet = err.Error(), false
		return err
	case file == "":
		o.Nothing = fmt.Sprintf("the package has no %s for the build that is installed", r.Library)
		return nil
	}
	if err := r.putLibrary(file); err != nil {
		return err
	}
	o.Nothing = "libraries are moved"
	o.note("/%s/%s/%s/%s/%s is what new processes get", sharedDir, r.Package, r.Version, libsLeaf, r.Library)
	return r.tellLinker(ctx)
}

// patchedLibrary returns the package's library for the build that is installed, "" if there is none.
func (r *Request) patchedLibrary() (string, error) {
	there, err := r.installedLibrary()
	if err != nil {
		return "", err
	}
	base, elements := r.path(packagesDir), []string{r.Package, r.Version, libsLeaf, hex.EncodeToString(there.BuildID)}
	file := filepath.Join(append([]string{base}, append(elements, r.Library)...)...)
	if _, err := os.Lstat(file); errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err := errors.Join(ownBelow(base, elements...), own(file, false)); err != nil {
		return "", err
	}
	return file, replaces(file, there)
}

// installedLibrary reads the library that the system has.
func (r *Request) installedLibrary() (*ulp.Library, error) {
	for _, folder := range libraryFolders {
		if l, err := ulp.OpenLibrary(r.path(folder, r.Library), ulp.LibraryOptions{}); err == nil && len(l.BuildID) > 0 {
			return l, nil
		}
	}
	return nil, fmt.Errorf("%s is not among the libraries of the system", r.Library)
}

// replaces refuses a library that cannot stand in for another one: programs would not start any more.
func replaces(file string, there *ulp.Library) error {
	l, err := ulp.OpenLibrary(file, ulp.LibraryOptions{})
	if err != nil {
		return err
	}
	if l.Arch != there.Arch || l.SONAME != there.SONAME {
		return fmt.Errorf("%s is %s for %s, the system's is %s for %s: it is not used", file, l.SONAME, l.Arch, there.SONAME, there.Arch)
	}
	has := map[string]bool{}
	for s := range l.Symbols() {
		if s.IsExported() {
			has[s.Name+"@"+s.Version] = true
		}
	}
	for s := range there.Symbols() {
		if s.IsExported() && !has[s.Name+"@"+s.Version] {
			return fmt.Errorf("%s does not export %s@%s, which the system's does: it is not used", file, s.Name, s.Version)
		}
	}
	return nil
}

// putLibrary copies a library to where the dynamic linker is told to look, and takes it away of other versions.
func (r *Request) putLibrary(file string) error {
	image, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := makeOwn(r.path(sharedDir), r.Package, r.Version, libsLeaf); err != nil {
		return err
	}
	if err := atomicfile.Write(r.path(sharedDir, r.Package, r.Version, libsLeaf, r.Library), image, 0o755); err != nil {
		return err
	}
	return r.dropLibrary(r.Version)
}

// dropLibrary takes the library away in all versions but one.
func (r *Request) dropLibrary(keep string) error {
	base := r.path(sharedDir)
	for _, version := range names(filepath.Join(base, r.Package)) {
		dir := filepath.Join(base, r.Package, version, libsLeaf)
		if version == keep || ownBelow(base, r.Package, version, libsLeaf) != nil {
			continue
		}
		if err := os.Remove(filepath.Join(dir, r.Library)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		_ = os.Remove(dir) // if it was the last one
		_ = os.Remove(filepath.Dir(dir))
	}
	return nil
}

// removeLibs takes the patched library away: when the package goes or, called by the old package in an upgrade, that of its
// version alone.
func (r *Request) removeLibs(ctx context.Context, o *Outcome) error {
	o.Nothing, o.Quiet = "no patched libraries are left of this version", true
	if _, err := os.Lstat(r.path(sharedDir, r.Package)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	base := r.path(sharedDir)
	if err := ownBelow(base, r.Package); err != nil {
		return err
	}
	if r.Count == 0 {
		if err := r.dropLibrary(""); err != nil {
			return err
		}
		_ = os.Remove(filepath.Join(base, r.Package))
	} else if ownBelow(base, r.Package, r.Version, libsLeaf) == nil {
		dir := filepath.Join(base, r.Package, r.Version, libsLeaf)
		_ = os.Remove(filepath.Join(dir, r.Library))
		_ = os.Remove(dir)
	}
	return r.tellLinker(ctx)
}

// tellLinker writes which folders have patched libraries, and makes the dynamic linker look there.
func (r *Request) tellLinker(ctx context.Context) error {
	base := r.path(sharedDir)
	var folders []string
	for _, pkg := range names(base) {
		for _, version := range names(filepath.Join(base, pkg)) {
			dir := filepath.Join(base, pkg, version, libsLeaf)
			if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 && ownBelow(base, pkg, version, libsLeaf) == nil {
				folders = append(folders, "/"+filepath.Join(sharedDir, pkg, version, libsLeaf)+"\n")
			}
		}
	}
	slices.Sort(folders)
	if err := r.include(len(folders) > 0); err != nil {
		return err
	}
	if len(folders) == 0 {
		if err := os.Remove(r.path(linkerConf)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	} else if err := atomicfile.Write(r.path(linkerConf), []byte(strings.Join(folders, "")), 0o644); err != nil {
		return err
	}
	return r.ldconfig(ctx)
}

// include puts the line that includes our list at the beginning of the system's file, or takes it away.
func (r *Request) include(wanted bool) error {
	name := r.path(systemConf)
	if err := own(name, false); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	info, err := os.Stat(name)
	if err == nil && info.Size() > maxConf {
		return fmt.Errorf("%s is too large to be what it should be: it is left alone", name)
	}
	text, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var lines []byte
	for line := range bytes.Lines(text) {
		if string(bytes.TrimSpace(line)) != includeLine {
			lines = append(lines, line...)
		}
	}
	if wanted {
		lines = append([]byte(includeLine+"\n"), lines...)
	}
	if bytes.Equal(lines, text) {
		return nil
	}
	return atomicfile.Write(name, lines, 0o644)
}

// ldconfig makes the dynamic linker's cache anew.
func (r *Request) ldconfig(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.Deadline)
	defer cancel()
	args := []string{}
	if r.Root != "/" {
		args = append(args, "-r", r.Root)
	}
	cmd := exec.CommandContext(ctx, "/sbin/ldconfig", args...)
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ldconfig: %w: %.200s", err, out)
	}
	return nil
}
