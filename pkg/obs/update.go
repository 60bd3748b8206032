package obs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/lpbuild/lpbuild/internal/atomicfile"
	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/internal/shellword"
	"github.com/lpbuild/lpbuild/pkg/spec"
)

// ErrForeignChanges means that a checkout's changes file has entries that the package directory's
// lacks.
var ErrForeignChanges = errors.New("the changes file of the checkout has entries of its own")

// ErrOtherPackage means that a checkout is of a package with another spec file.
var ErrOtherPackage = errors.New("a checkout of another package")

// Source is a source package to put into a checkout.
type Source struct {
	Name   string     // of the package
	Dist   *spec.Dist // its files
	Groups int        // number of flavors that the service builds it in; below 2 means none
	Builds int        // the maximum number of builds that one flavor has live patches for
}

// Options controls how to work.
type Options struct {
	Osc string // the program; "" means osc from $PATH, or none if it is missing
}

// Update describes what happened to a checkout.
type Update struct {
	Added   []string // files that the service does not have yet
	Changed []string // files whose content changed
	Removed []string // files of former versions
	Kept    []string // files of a person that lpbuild would otherwise write
	Todo    []string // commands that remain to be run, because osc is missing
}

// Update updates the checkout and tells osc or git which files are new and which are gone. It
// commits nothing. Everything that can be rejected is rejected before the first file changes.
func (c *Checkout) Update(ctx context.Context, s Source, o Options) (*Update, error) {
	files, err := s.files()
	if err != nil {
		return nil, err
	}
	if err := c.checkPackage(s); err != nil {
		return nil, err
	}
	if err := c.checkChanges(s); err != nil {
		return nil, err
	}
	u := &Update{}
	var write []file
	for _, f := range files {
		former, err := c.read(f.name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case f.generated && !isGenerated(former):
			u.Kept = append(u.Kept, f.name)
			continue
		case bytes.Equal(former, f.data):
			continue
		}
		write = append(write, f)
	}
	obsolete, err := c.obsolete(s, files)
	if err != nil {
		return nil, err
	}
	for _, f := range write {
		if err := atomicfile.Write(filepath.Join(c.Dir, f.name), f.data, 0o644); err != nil {
			return nil, err
		}
		if c.tracked[f.name] {
			u.Changed = append(u.Changed, f.name)
		}
	}
	return u, c.register(ctx, u, files, obsolete, o)
}

// register tells osc which files are new, and removes those that are gone.
func (c *Checkout) register(ctx context.Context, u *Update, files []file, obsolete []string,
	o Options) error {
	for _, f := range files {
		if !c.tracked[f.name] && !slices.Contains(u.Kept, f.name) {
			u.Added = append(u.Added, f.name)
		}
	}
	var tracked []string
	for _, name := range obsolete {
		u.Removed = append(u.Removed, name)
		if c.tracked[name] {
			tracked = append(tracked, name)
		} else if err := os.Remove(filepath.Join(c.Dir, name)); err != nil {
			return err
		}
	}
	if c.Git {
		return c.registerGit(ctx, u, tracked)
	}
	osc, err := o.find()
	if err != nil {
		return err
	}
	for _, command := range []struct {
		words []string
		names []string
	}{{[]string{"rm", "--force"}, tracked}, {[]string{"add"}, u.Added}} {
		if len(command.names) == 0 {
			continue
		}
		args := slices.Concat(command.words, command.names)
		if osc == "" {
			u.Todo = append(u.Todo, shellword.Join(append([]string{"osc"}, args...)...))
			continue
		}
		if err := c.run(ctx, osc, args...); err != nil {
			return err
		}
	}
	return nil
}

// checkPackage rejects the checkout of another package, which has a spec file with another name.
// The package's name in the service proves nothing, since branches and incidents have names of
// their own.
func (c *Checkout) checkPackage(s Source) error {
	own := s.Name + ".spec"
	if c.tracked[own] {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(c.tracked)) {
		if c.tracked[name] && filepath.Ext(name) == ".spec" {
			return fmt.Errorf("%s: %w: it has %s, and no %s: give the right checkout, or remove "+
				"that file with: %s rm %s",
				c.Dir, ErrOtherPackage, name, own, c.tool(), name)
		}
	}
	return nil
}

// tool returns the name of the program that manages the checkout.
func (c *Checkout) tool() string {
	if c.Git {
		return "git"
	}
	return "osc"
}

// checkChanges refuses to lose an entry that somebody wrote in the checkout, or that came from the
// service.
func (c *Checkout) checkChanges(s Source) error {
	name := s.Name + ".changes"
	text, err := c.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	former, err := spec.ParseChanges(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(c.Dir, name), err)
	}
	entries, err := spec.ReadChanges(s.Dist.Changes)
	if err != nil {
		return err
	}
	for _, e := range former {
		if !slices.Contains(entries, e) {
			return fmt.Errorf("%s: %w: that of %s by %s: add it to the package directory's %s "+
				"first", filepath.Join(c.Dir, name),
				ErrForeignChanges, e.Time.Format("2006-01-02 15:04:05"), e.Author, name)
		}
	}
	return nil
}

// obsolete returns the files of former versions that the checkout or the service still has.
func (c *Checkout) obsolete(s Source, files []file) ([]string, error) {
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, e := range entries {
		if e.Type().IsRegular() {
			found[e.Name()] = true
		}
	}
	for name, tracked := range c.tracked {
		// including one that is no longer on the disk
		if tracked && spec.IsArchiveOf(name, s.Name) {
			found[name] = true
		}
	}
	for _, f := range files {
		delete(found, f.name)
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(found)) {
		obsolete := spec.IsArchiveOf(name, s.Name)
		if name == multibuildName || name == constraintsName {
			text, err := c.read(name)
			if err != nil {
				return nil, err
			}
			obsolete = isGenerated(text)
		}
		if obsolete {
			names = append(names, name)
		}
	}
	return names, nil
}

// maxFile bounds a file of a source package, in bytes.
const maxFile = 1 << 30

// read returns a file of the checkout; anything but a regular file is in the way.
func (c *Checkout) read(name string) ([]byte, error) {
	path := filepath.Join(c.Dir, name)
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is in the way: it is not a file of a source package: nothing "+
			"was written", path)
	}
	return regularfile.Read(path, maxFile)
}

// file is one that belongs in the checkout.
type file struct {
	name      string
	data      []byte
	generated bool // made for the service only; a person may have one with that name
}

// files returns all files of the package; the spec file follows the files that it names.
func (s Source) files() ([]file, error) {
	var all []file
	for _, path := range []string{s.Dist.Archive, s.Dist.Changes, s.Dist.Rpmlintrc, s.Dist.Spec} {
		data, err := regularfile.Read(path, maxFile)
		if err != nil {
			return nil, err
		}
		all = append(all, file{name: filepath.Base(path), data: data})
	}
	if text := multibuild(s.Groups); text != nil {
		all = append(all, file{multibuildName, text, true})
	}
	if text := constraints(s.Builds); text != nil {
		all = append(all, file{constraintsName, text, true})
	}
	return all, nil
}
