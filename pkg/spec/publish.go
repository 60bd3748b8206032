package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/lpbuild/lpbuild/internal/atomicfile"
	"github.com/lpbuild/lpbuild/internal/regularfile"
)

// stagePrefix begins the name of the directory in which a source package is prepared.
const stagePrefix = ".lpbuild-dist-"

// published is one file of a publication.
type published struct {
	name string // base name
	data []byte
}

// publication is a set of files that replace former ones together: all are written and synced
// before the first takes its place. They take their places in order, so that a machine that stops
// in between leaves former and new files, each complete, and none names a missing one.
type publication struct {
	dir    string
	files  []published
	rename func(from, to string) error // nil means os.Rename
}

// publish moves the files into their directory, which it creates if necessary. After an error the
// directory is as it was.
func (p *publication) publish() (err error) {
	if err := p.checkPlaces(); err != nil {
		return err
	}
	made, err := makeDir(p.dir)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && made {
			_ = os.Remove(p.dir) // the first error matters
		}
	}()
	// The stage is inside the directory, so that it is on the same disk even if the directory is a
	// link.
	stage, err := os.MkdirTemp(p.dir, stagePrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(stage)
	for _, f := range p.files {
		if err := atomicfile.Write(filepath.Join(stage, f.name), f.data, 0o644); err != nil {
			return err
		}
	}
	return p.replace(stage)
}

// checkPlaces rejects a place that is taken by something other than a file.
func (p *publication) checkPlaces() error {
	for _, f := range p.files {
		name := filepath.Join(p.dir, f.name)
		info, err := os.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is in the way: it is not a file: nothing was written", name)
		}
	}
	return nil
}

// replace renames the prepared files to their places. If one rename fails, it undoes the earlier
// ones.
func (p *publication) replace(stage string) error {
	rename := p.rename
	if rename == nil {
		rename = os.Rename
	}
	var undo []func() error
	for _, f := range p.files {
		name, former := filepath.Join(p.dir, f.name), filepath.Join(stage, f.name+".former")
		back := func() error { return os.Remove(name) }
		err := os.Link(name, former)
		switch {
		case err == nil:
			back = func() error { return os.Rename(former, name) }
		case !errors.Is(err, fs.ErrNotExist): // a disk without hard links
			data, readErr := regularfile.Read(name, maxPublished)
			if readErr != nil {
				return errors.Join(append([]error{err, readErr}, takeBack(undo)...)...)
			}
			back = func() error { return atomicfile.Write(name, data, 0o644) }
		}
		if err := rename(filepath.Join(stage, f.name), name); err != nil {
			return errors.Join(append([]error{err}, takeBack(undo)...)...)
		}
		undo = append(undo, back)
	}
	return nil
}

func takeBack(undo []func() error) []error {
	var errs []error
	for _, back := range slices.Backward(undo) {
		if err := back(); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// makeDir makes a directory and reports whether it was missing.
func makeDir(dir string) (made bool, err error) {
	err = os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is in the way: it is not a directory", dir)
		}
		return false, err
	}
	return err == nil, err
}
