package spec

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/fetch"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// distDir is the directory of the source package below a package directory.
const distDir = "dist"

// Dist holds the paths of what [Make] wrote.
type Dist struct {
	Spec, Archive, Changes, Rpmlintrc string // paths
}

// Make writes the source package of a package directory into its dist directory: spec file, source
// archive and changes file. r is the report of a build of the same inputs, for every architecture
// of the configuration: only the report knows which headers the archive needs.
//
// Everything that can fail is done before the first file of a former source package is replaced.
func Make(ctx context.Context, c *config.Config, l *download.Lock,
	r *buildmatrix.Report) (*Dist, error) {
	changes := filepath.Join(c.Dir, c.Name+".changes")
	entries, err := ReadChanges(changes)
	if err != nil {
		return nil, err
	}
	if err := cmp.Or(checkComplete(c, l, r), checkPublishable(c, l)); err != nil {
		return nil, err
	}
	p, err := describe(c, l)
	if err != nil {
		return nil, err
	}
	p.Time = entries[0].Time.Unix()
	text, err := p.Render()
	if err != nil {
		return nil, fmt.Errorf("spec file: %w", err)
	}
	archive := &sourceArchive{Top: c.Name + "-" + c.Version, Files: files(c, l, r),
		Time: entries[0].Time}
	var packed bytes.Buffer
	if err := archive.Write(&packed); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	changesText, err := regularfile.Read(changes, maxChanges)
	if err != nil {
		return nil, err
	}
	lint, err := render("package-rpmlintrc.tmpl", *p)
	if err != nil {
		return nil, err
	}
	d := Paths(c)
	dir := filepath.Join(c.Dir, distDir)
	// The spec file follows the files that it names, and the archives that the former one names are
	// removed last.
	set := publication{dir: dir, files: []published{
		{filepath.Base(d.Archive), packed.Bytes()}, {filepath.Base(d.Changes), changesText},
		{filepath.Base(d.Rpmlintrc), lint}, {filepath.Base(d.Spec), text},
	}}
	if err := set.publish(); err != nil {
		return nil, err
	}
	return d, removeFormer(dir, c.Name, filepath.Base(d.Archive))
}

// Paths returns the paths that [Make] writes.
func Paths(c *config.Config) *Dist {
	base := filepath.Join(c.Dir, distDir, c.Name)
	return &Dist{Spec: base + ".spec", Archive: base + "-" + c.Version + ".tar.xz", Changes: base +
		".changes", Rpmlintrc: base + "-rpmlintrc"}
}

// checkPublishable rejects what must not leave the engineer's machine: secrets in URLs, and a
// catalogue that an offline build would not accept.
func checkPublishable(c *config.Config, l *download.Lock) error {
	for _, r := range c.Repositories {
		for _, url := range []string{r.URL, r.Debuginfo} {
			if url != "" && fetch.Redact(url) != url {
				return fmt.Errorf("%s: the URL %s contains a user, a password or a token, and "+
					"the file is published with the source package: put the URL into a .repo "+
					"file outside the directory and give that", c.Path, fetch.Redact(url))
			}
		}
	}
	return l.CheckFiles(c.Dir)
}

// ErrIncomplete means that a build did not try everything that the source package is for.
var ErrIncomplete = errors.New("not everything is built")

// checkComplete rejects a report that lacks a cell of the matrix. One architecture alone is not
// enough: the archive would lack sources and headers that only another one includes.
func checkComplete(c *config.Config, l *download.Lock, r *buildmatrix.Report) error {
	type cell struct{ patch, arch, name, version, release, target string }
	built := map[cell]bool{}
	for _, i := range r.Containers() {
		built[cell{i.Patch, i.Arch, i.Package, i.Version, i.Release, i.Target}] = true
	}
	missing, first := map[string]int{}, map[string]string{}
	var arches []string
	for _, want := range buildmatrix.Cells(c, l) {
		b := want.Build
		key := cell{want.Patch.Description, string(want.Arch), b.Name, b.Version, b.Release,
			want.Library.BuildID}
		if built[key] {
			continue
		}
		if missing[key.arch]++; missing[key.arch] == 1 {
			arches, first[key.arch] = append(arches, key.arch), fmt.Sprintf("%s for %s", key.patch,
				b.NEVRA())
		}
	}
	var errs []error
	for _, arch := range arches {
		errs = append(errs, fmt.Errorf("%w: %s: %d containers are missing, the first is of %s: "+
			"run lpbuild build --arch %s, where a compiler for it is installed: the source "+
			"package is for all of "+
			"\"arch\"", ErrIncomplete, arch, missing[arch], first[arch], arch))
	}
	return errors.Join(errs...)
}

// files returns the files of the source archive: configuration, lock, catalogue, and every file
// that the configuration names or the compiler read, but no others of the directory.
func files(c *config.Config, l *download.Lock, r *buildmatrix.Report) map[string]string {
	names := []string{config.FileName, config.LockName}
	for _, repo := range c.Repositories {
		names = append(names, repo.Keys...)
	}
	for _, p := range c.Patches {
		names = append(names, p.Description)
		names = append(names, p.Sources...)
		if p.Test != "" {
			names = append(names, p.Test)
		}
	}
	names = slices.Concat(names, r.Inputs, l.Files())
	all := make(map[string]string, len(names))
	for _, name := range names {
		name = path.Clean(name)
		all[name] = c.File(filepath.FromSlash(name))
	}
	return all
}

// describe collects the properties for the spec file.
func describe(c *config.Config, l *download.Lock) (*Package, error) {
	p := &Package{
		Name: c.Name, Version: c.Version, Summary: c.Summary, License: c.License, URL: c.URL,
		Unsigned: l.IsUnsigned(),
		Bundled:  c.Engine == config.EngineBundled,
	}
	for _, pkg := range c.Packages {
		p.Packages = append(p.Packages, pkg.Name)
	}
	for _, arch := range c.Arch {
		p.Arch = append(p.Arch, string(arch))
	}
	for _, patch := range c.Patches {
		if base := path.Base(patch.Library); !slices.Contains(p.Libraries, base) {
			p.Libraries = append(p.Libraries, base)
		}
		comments, err := comments(c.File(patch.Description))
		if err != nil {
			return nil, err
		}
		for _, line := range comments {
			if !slices.Contains(p.Comments, line) {
				p.Comments = append(p.Comments, line)
			}
		}
	}
	p.Groups, _ = buildmatrix.Flavors(c, l)
	what := strings.Join(p.Packages, ", ")
	if p.Summary == "" {
		p.Summary = "Live patches for " + what
	}
	if p.URL == "" {
		p.URL = "https://github.com/lpbuild/lpbuild"
	}
	p.Description = descriptionText(p, what)
	return p, nil
}

func descriptionText(p *Package, what string) string {
	var b strings.Builder
	b.WriteString(fill("", fmt.Sprintf("Security fixes for %s that are applied to running "+
		"processes, without restarting them. One shared object per released build of "+
		"%s.", what, what)))
	if len(p.Comments) > 0 {
		b.WriteString("\n\nFixes:")
		for _, c := range p.Comments {
			b.WriteString("\n" + fill("* ", c))
		}
	}
	return b.String()
}

// lineWidth is rpmlint's limit for the lines of a description, in characters.
const lineWidth = 76

// fill breaks text into lines; the first begins with bullet, the others with as many blanks.
func fill(bullet, text string) string {
	var lines []string
	line := bullet
	for word := range strings.FieldsSeq(text) {
		if len(strings.TrimSpace(line)) > len(strings.TrimSpace(bullet)) &&
			utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > lineWidth {
			lines = append(lines, line)
			line = strings.Repeat(" ", len(bullet))
		}
		if strings.TrimSpace(line) != strings.TrimSpace(bullet) && strings.TrimSpace(line) != "" {
			line += " "
		}
		line += word
	}
	return strings.Join(append(lines, line), "\n")
}

// maxDescription exceeds the size of any description, in bytes.
const maxDescription = 1 << 20

// comments returns the comment lines of a description: CVE and bug numbers.
func comments(name string) ([]string, error) {
	text, err := regularfile.Read(name, maxDescription)
	if err != nil {
		return nil, err
	}
	d, err := ulp.ParseDescription(name, text)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, c := range d.Comments {
		if c = strings.TrimSpace(c); c != "" {
			lines = append(lines, c)
		}
	}
	return lines, nil
}

// removeFormer removes archives of other versions that an earlier dist wrote: a submission must
// have only one.
func removeFormer(dir, name, current string) error {
	found, err := archivesOf(dir, name)
	if err != nil {
		return err
	}
	for _, f := range found {
		if filepath.Base(f) != current {
			if err := os.Remove(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// archivesOf returns the archives of the package in a directory, which need not exist.
func archivesOf(dir, name string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		if IsArchiveOf(e.Name(), name) {
			found = append(found, filepath.Join(dir, e.Name()))
		}
	}
	return found, nil
}

// IsArchiveOf reports whether a file name is that of an archive of the package in any version. A
// version begins with a digit and has no dash.
func IsArchiveOf(file, name string) bool {
	base, packed := strings.CutSuffix(file, ".tar.xz")
	version, ok := strings.CutPrefix(base, name+"-")
	return packed && ok && version != "" && version[0] >= '0' && version[0] <= '9' &&
		!strings.Contains(version, "-")
}
