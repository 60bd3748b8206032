// Package scaffold writes a new package directory that builds without changes: a configuration, an
// example of a live patch with its description and its test program, and a README for the
// maintainers.
//
// It overwrites nothing, writes all files or none, and writes nothing that the other commands would
// reject.
package scaffold

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/lpbuild/lpbuild/internal/atomicfile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/download/fetch"
	"github.com/lpbuild/lpbuild/pkg/spec"
	"github.com/lpbuild/lpbuild/templates"
)

// ErrExists means that the directory already has one of the files.
var ErrExists = errors.New("already exists")

// ErrSecret means that a repository's URL must not be written to a file that is published.
var ErrSecret = errors.New("the URL contains a user, a password or a token")

// Options says what to write. All fields but Repositories have defaults.
type Options struct {
	Name         string       // of the RPM package; default: the directory's name
	Product      string       // default: "product"
	Arch         []string     // default: x86_64
	Package      string       // whose builds are patched; default: glibc
	Builds       string       // version range; default: all
	Repositories []Repository // at least one
	Author       string       // of the first changes entry
	Time         time.Time    // of the first changes entry
	License      string       // set by Write, for the package
	// Import is a tree of descriptions and sources that becomes the package, instead of an example.
	// Left, if not nil, receives the files that are not imported, with the reasons.
	Import string
	Left   *[]string
	// containers whose numbers differ from those in their descriptions; optional
	Renumbered *[]string
	Assumed    *[]string // what lpbuild.yaml accepts because of the tree's sources; optional
	Patches    []Patch   // set by Write: the live patches of the tree
}

// Repository is an entry of the configuration. Relative paths start at the current directory, and
// become absolute, so that they mean the same in the new directory.
type Repository struct {
	URL, Debuginfo string
	KeyFiles       []string // copied to keys/; if there are none, the repository is unsigned
	Keys           []string // set by Write: their names in the package directory
}

// Write fills the directory dir, which it creates if necessary, and returns the names of the files
// it wrote.
func Write(dir string, o Options) ([]string, error) {
	if err := o.complete(dir); err != nil {
		return nil, err
	}
	files, err := o.files()
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if _, err := os.Lstat(filepath.Join(dir, f.name)); err == nil {
			return nil, fmt.Errorf("%s %w: nothing was written", filepath.Join(dir, f.name),
				ErrExists)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if err := rehearse(dir, files); err != nil {
		return nil, err
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.name
	}
	return names, writeAll(dir, files)
}

// writeAll writes files below dir. If one cannot be written, it removes the others and the
// directories it made.
func writeAll(dir string, files []file) (err error) {
	var undo []string
	defer func() {
		if err != nil {
			for _, name := range slices.Backward(undo) {
				_ = os.Remove(name) // the first error matters; a directory with other files stays
			}
		}
	}()
	for _, f := range files {
		name := filepath.Join(dir, f.name)
		undo = append(undo, missingDirs(filepath.Dir(name))...)
		if err := atomicfile.Write(name, f.data, 0o644); err != nil {
			return err
		}
		undo = append(undo, name)
	}
	return nil
}

// missingDirs returns dir and the missing directories above it, the outermost first.
func missingDirs(dir string) []string {
	var missing []string
	for {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			slices.Reverse(missing)
			return missing
		}
		missing = append(missing, dir)
		dir = filepath.Dir(dir)
	}
}

func (o *Options) complete(dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	o.Name = cmp.Or(o.Name, filepath.Base(abs))
	o.Product = cmp.Or(o.Product, "product")
	o.Package = cmp.Or(o.Package, "glibc")
	o.Author = cmp.Or(o.Author, "lpbuild <lpbuild@localhost>")
	if len(o.Arch) == 0 {
		o.Arch = []string{"x86_64"}
	}
	if o.Time.IsZero() {
		o.Time = time.Now()
	}
	// before a file gets that name; rehearse checks everything else
	if err := config.CheckPackageName(o.Name); err != nil {
		return fmt.Errorf("name: %w: give one with --name", err)
	}
	if len(o.Repositories) == 0 {
		return errors.New("a package needs at least one repository")
	}
	o.License = "LGPL-2.1-or-later"
	if o.Package == "glibc" {
		o.License = glibcLicense
	}
	o.Repositories = slices.Clone(o.Repositories)
	for i := range o.Repositories {
		r := &o.Repositories[i]
		for _, at := range []*string{&r.URL, &r.Debuginfo} {
			if *at, err = absolute(*at); err != nil {
				return err
			}
		}
	}
	return nil
}

// glibcLicense is the license of glibc's code, parts of which a live patch contains.
const glibcLicense = "LGPL-2.1-or-later AND LGPL-2.1-or-later WITH GCC-exception-2.0 AND " +
	"GPL-2.0-or-later"

// absolute returns a location that means the same in every directory: relative paths become
// absolute. Locations with a secret are rejected.
func absolute(location string) (string, error) {
	if location == "" {
		return "", nil
	}
	here, err := fetch.ParseLocation(location, "")
	if err != nil {
		return "", err
	}
	elsewhere, err := fetch.ParseLocation(location, "/nowhere")
	switch {
	case err != nil:
		return "", err
	case fetch.Redact(location) != location:
		return "", fmt.Errorf("%s: %w, and lpbuild.yaml is published with the source package: "+
			"put the URL into a .repo file outside the package directory and give "+
			"that", here, ErrSecret)
	case here.LocalPath() == elsewhere.LocalPath():
		return location, nil
	}
	return here.LocalPath(), nil
}

type file struct {
	name string
	data []byte
}

func (o *Options) files() ([]file, error) {
	files, err := o.keys()
	if err != nil {
		return nil, err
	}
	if o.Import != "" {
		tree, err := importTree(o.Import)
		if err != nil {
			return nil, err
		}
		o.Patches = tree.patches
		files = append(files, tree.files...)
		if o.Left != nil {
			*o.Left = tree.left
		}
		if o.Renumbered != nil {
			*o.Renumbered = tree.renamed
		}
		if o.Assumed != nil {
			*o.Assumed = tree.assumed()
		}
	}
	for _, from := range o.templates() {
		data, err := fs.ReadFile(templates.FS, path.Join("scaffold", from))
		if err != nil {
			return nil, err
		}
		name, isTemplate := strings.CutSuffix(path.Base(from), ".tmpl")
		if isTemplate {
			if data, err = o.fill(name, data); err != nil {
				return nil, err
			}
		}
		files = append(files, file{name, data})
	}
	first := spec.Entry{Time: o.Time, Author: o.Author, Text: "- First version"}
	if err := first.Check(); err != nil {
		return nil, err
	}
	return append(files, file{o.Name + ".changes", []byte(first.String())},
		file{".gitignore", []byte("/build/\n/dist/\n")}), nil
}

// templates returns the files of templates/scaffold for the new directory.
func (o *Options) templates() []string {
	switch {
	case o.Import != "":
		return []string{"lpbuild.yaml.tmpl"}
	case o.Example():
		return []string{"README.md.tmpl", "lpbuild.yaml.tmpl", "glibc/libc_livepatch1.c",
			"glibc/libc_livepatch1.in", "glibc/test.c"}
	}
	return []string{"README.md.tmpl", "lpbuild.yaml.tmpl", "other/livepatch1.c.tmpl",
		"other/livepatch1.in.tmpl"}
}

// Example reports whether the directory gets an example that builds, which exists for glibc alone.
// Nothing is known about another package before a download, so [FillIn] then stands for its
// library, the function to replace and the replacement.
func (o *Options) Example() bool { return cmp.Or(o.Package, "glibc") == "glibc" }

// FillIn in a new package directory marks what only the user can know. It is not the name of a
// library or a function, so nothing is built before it is replaced.
const FillIn = "FILL_IN"

func (o *Options) fill(name string, text []byte) ([]byte, error) {
	t, err := template.New(name).Funcs(template.FuncMap{"yaml": quoteYAML}).Parse(string(text))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, o)
	return b.Bytes(), err
}

// quoteYAML returns s as a YAML scalar of type string.
func quoteYAML(s string) (string, error) {
	data, err := yaml.Marshal(s)
	if err != nil {
		return "", err
	}
	if text := strings.TrimSpace(string(data)); !strings.Contains(text, "\n") {
		return text, nil
	}
	return "", fmt.Errorf("%q has more than one line", s)
}

// keys reads the key files and determines their places in the package directory.
func (o *Options) keys() ([]file, error) {
	var files []file
	named := map[string]string{} // source → name in the directory
	for i := range o.Repositories {
		r := &o.Repositories[i]
		r.Keys = nil
		for _, source := range r.KeyFiles {
			if name, known := named[source]; known {
				r.Keys = append(r.Keys, name)
				continue
			}
			data, err := readKey(source)
			if err != nil {
				return nil, err
			}
			name := "keys/" + filepath.Base(source)
			for _, other := range named {
				if other == name {
					return nil, fmt.Errorf("%s: another key file has the same name", source)
				}
			}
			named[source] = name
			r.Keys = append(r.Keys, name)
			files = append(files, file{name, data})
		}
	}
	return files, nil
}
