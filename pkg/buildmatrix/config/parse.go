package config

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/pkg/rpmver"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Parse reads a configuration. path is where the text comes from: it is named in findings,
// and its directory is the package directory.
func Parse(path string, text []byte) (*Config, error) {
	d := &document{file: path, text: text}
	c := &Config{Path: path, Dir: filepath.Dir(path)}
	if top := d.parseYAML(); top != nil {
		c.read(d, top)
	}
	if err := d.findings.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Config) read(d *document, top *yaml.Node) {
	d.mapping(top, FileName, fields{
		"name":    d.string("name", &c.Name, CheckPackageName),
		"version": d.string("version", &c.Version, isPackageVersion),
		"product": d.string("product", &c.Product, isPathElement),
		"summary": d.string("summary", &c.Summary, isTagLine),
		"url":     d.string("url", &c.URL, isTagLine, isOneWord),
		"license": d.string("license", &c.License, isTagLine),
		"engine":  d.string("engine", &c.Engine, isEngine),
		"entries": d.string("entries", (*string)(&c.Entries), isEntries),
		"arch": func(n *yaml.Node) {
			d.sequence(n, "arch", false, func(n *yaml.Node) { c.readArch(d, n) })
		},
		"repositories": func(n *yaml.Node) {
			d.sequence(n, "repositories", false, func(n *yaml.Node) { c.readRepository(d, n) })
		},
		"packages": func(n *yaml.Node) {
			d.sequence(n, "packages", false, func(n *yaml.Node) { c.readPackage(d, n) })
		},
		"obs": func(n *yaml.Node) { c.readOBS(d, n) },
		"patches": func(n *yaml.Node) {
			d.sequence(n, "patches", false, func(n *yaml.Node) { c.readPatch(d, n) })
		},
	}, requiredKeys[Config]()...)
	c.Engine, c.Entries = cmp.Or(c.Engine, EngineSystem), cmp.Or(c.Entries, symtab.EntriesNOPs)
}

func (c *Config) readArch(d *document, n *yaml.Node) {
	var name string
	d.string("arch", &name)(n)
	arch := symtab.Arch(name)
	switch {
	case name == "":
	case arch.Machine() == 0:
		d.add(n, fmt.Sprintf("arch: %q is not known", name),
			"known are x86_64, ppc64le and aarch64")
	case slices.Contains(c.Arch, arch):
		d.add(n, fmt.Sprintf("arch: %q occurs twice", name), "")
	default:
		c.Arch = append(c.Arch, arch)
	}
}

func (c *Config) readRepository(d *document, n *yaml.Node) {
	var r Repository
	before := len(d.findings)
	d.mapping(n, "repository", fields{
		"url":       d.string("url", &r.URL, isNotEmpty),
		"debuginfo": d.string("debuginfo", &r.Debuginfo, isNotEmpty),
		"unsigned":  d.boolean("unsigned", &r.Unsigned),
		"max-age":   d.readAge("max-age", &r.MaxAge),
		"keys": func(n *yaml.Node) {
			d.sequence(n, "keys", false, func(n *yaml.Node) { c.readFile(d, n, "keys", &r.Keys) })
		},
	}, requiredKeys[Repository]()...)
	if len(d.findings) == before && len(r.Keys) == 0 && !r.Unsigned {
		d.add(n, "repository: neither keys nor unsigned: true",
			"pin the keys that sign it (keys: [keys/vendor.asc]); \"unsigned: true\" trusts "+
				"whoever can answer for that URL")
	}
	if len(r.Keys) > 0 && r.Unsigned {
		d.add(n, "repository: keys and unsigned: true contradict each other", "")
	}
	c.Repositories = append(c.Repositories, r)
}

func (c *Config) readPackage(d *document, n *yaml.Node) {
	var p Package
	d.mapping(n, "package", fields{
		"name":   d.string("name", &p.Name, CheckPackageName),
		"builds": d.readRange(&p.Builds),
		"since":  d.readAge("since", &p.Since),
	}, requiredKeys[Package]()...)
	if slices.ContainsFunc(c.Packages, func(o Package) bool {
		return o.Name == p.Name && p.Name != ""
	}) {
		d.add(n, fmt.Sprintf("package %q occurs twice", p.Name), "")
	}
	c.Packages = append(c.Packages, p)
}

func (c *Config) readPatch(d *document, n *yaml.Node) {
	p := Patch{Pos: d.pos(n)}
	d.mapping(n, "patch", fields{
		"library":     d.string("library", &p.Library, isLibrary),
		"description": c.fileReader(d, "description", &p.Description),
		"sources": func(n *yaml.Node) {
			d.sequence(n, "sources", false, func(n *yaml.Node) {
				c.readFile(d, n, "sources", &p.Sources)
			})
		},
		"cflags": func(n *yaml.Node) {
			var flags flagChecker
			d.sequence(n, "cflags", true, func(n *yaml.Node) {
				var flag string
				if d.string("cflags", &flag, flags.check)(n); flag != "" {
					p.CFlags = append(p.CFlags, flag)
				}
			})
			if err := flags.end(); err != nil {
				d.add(n, "cflags: "+err.Error(), "")
			}
		},
		"builds": d.readRange(&p.Builds),
		"clones": d.readAccepted("clones", "scale.constprop.0 does not reach the loop",
			&p.Clones),
		"recursion": d.readAccepted("recursion", "it skips the detour", &p.Recursion),
		"overlaps": d.readAccepted("overlaps", "both replace version() by the same code",
			&p.Overlaps),
		"unwinding": d.string("unwinding", (*string)(&p.Unwinding), isUnwinding),
		"test":      c.fileReader(d, "test", &p.Test),
	}, requiredKeys[Patch]()...)
	p.Unwinding = cmp.Or(p.Unwinding, ulp.UnwindingAny)
	c.Patches = append(c.Patches, p)
}

// readAccepted reads {accept: REASON}, the value of a key.
func (d *document) readAccepted(key, example string, to *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.MappingNode {
			d.add(n, key+": only accept, with a reason, belongs here",
				fmt.Sprintf("for example: %s: {accept: %q}", key, example))
			return
		}
		d.mapping(n, key, fields{"accept": d.string("accept", to, isTagLine)}, "accept")
	}
}

func (d *document) readAge(what string, to *Age) func(*yaml.Node) {
	return func(n *yaml.Node) {
		var text string
		d.string(what, &text, func(s string) error { _, err := parseAge(s); return err })(n)
		*to, _ = parseAge(text) // checked above; the zero Age where it is wrong
	}
}

func (d *document) readRange(to *rpmver.Range) func(*yaml.Node) {
	return func(n *yaml.Node) {
		var text string
		d.string("builds", &text)(n)
		r, err := rpmver.ParseRange(text)
		if err != nil {
			pos := d.pos(n)
			var re *rpmver.RangeError
			if errors.As(err, &re) && n.Style == 0 {
				pos.Column += re.Column - 1
			} else if errors.As(err, &re) {
				pos.Column += re.Column // the opening quote
			}
			d.at(pos, 1, "builds: "+err.Error(), "for example: \">= 2.31-150300.9, < 2.38\"")
			return
		}
		*to = r
	}
}

func (c *Config) fileReader(d *document, what string, to *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		var list []string
		if c.readFile(d, n, what, &list); len(list) == 1 {
			*to = list[0]
		}
	}
}

// readFile reads the name of a file of the package directory, which must exist and lie inside the
// directory: it goes into the source package.
func (c *Config) readFile(d *document, n *yaml.Node, what string, to *[]string) {
	var name string
	if d.string(what, &name, isNotEmpty)(n); name == "" {
		return
	}
	if !filepath.IsLocal(name) {
		d.add(n, fmt.Sprintf("%s: %q is outside the package directory", what, name),
			"copy it in: the source package must hold all that a build needs")
		return
	}
	info, err := os.Stat(c.File(name))
	switch {
	case errors.Is(err, os.ErrNotExist):
		d.add(n, fmt.Sprintf("%s: there is no file %s", what, c.File(name)), "")
	case err != nil:
		d.add(n, fmt.Sprintf("%s: %v", what, err), "")
	case !info.Mode().IsRegular():
		d.add(n, fmt.Sprintf("%s: %s is not a file", what, c.File(name)), "")
	case !StaysIn(c.Dir, name):
		d.add(n, fmt.Sprintf("%s: %q leads out of the package directory by a symbolic link", what,
			name), "copy the file in")
	default:
		*to = append(*to, filepath.ToSlash(filepath.Clean(name)))
	}
}

var (
	packageName    = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)
	packageVersion = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._+~^]*$`)
	ageForm        = lazyregexp.New(`^([0-9]{1,4}) +(day|week|month|year)s?$`)
)

// maxName bounds names and versions, in bytes: several of them make one file name, of which no more
// than 255 are allowed.
const maxName = 80

// CheckPackageName says what is wrong with a name for an RPM package.
func CheckPackageName(s string) error {
	if len(s) > maxName {
		return tooLong(s)
	}
	if !packageName().MatchString(s) {
		return fmt.Errorf("%q is not a name that RPM takes: letters, digits and . _ + - only", s)
	}
	return nil
}

func tooLong(s string) error {
	return fmt.Errorf("\"%.20s...\" has %d characters: no more than %d fit into the names of files",
		s, len(s), maxName)
}

func isPackageVersion(s string) error {
	if len(s) > maxName {
		return tooLong(s)
	}
	if !packageVersion().MatchString(s) {
		return fmt.Errorf("%q is not a version that RPM takes: letters, digits and . _ + ~ ^ only",
			s)
	}
	return nil
}

func isPathElement(s string) error {
	if len(s) > maxName {
		return tooLong(s)
	}
	if !packageName().MatchString(s) {
		return fmt.Errorf("%q is not a directory name: letters, digits and . _ + - only", s)
	}
	return nil
}

func isTagLine(s string) error {
	if strings.TrimSpace(s) == "" || len(s) > 512 || strings.ContainsFunc(s, unicode.IsControl) {
		return errors.New("one line of text belongs here")
	}
	return nil
}

func isOneWord(s string) error {
	if strings.ContainsFunc(s, unicode.IsSpace) {
		return errors.New("no blank belongs into a URL: write %20")
	}
	return nil
}

func isNotEmpty(s string) error {
	if s == "" || strings.ContainsAny(s, "\x00\n\r") {
		return errors.New("one line of text belongs here")
	}
	return nil
}

func isLibrary(s string) error {
	if err := isNotEmpty(s); err != nil {
		return err
	}
	if s != filepath.Clean(s) || strings.HasPrefix(s, "..") || strings.HasSuffix(s, "/") {
		return fmt.Errorf("%q is neither a base name (libc.so.6) nor an absolute path inside the "+
			"package", s)
	}
	if strings.Contains(s, "/") && !filepath.IsAbs(s) {
		return fmt.Errorf("%q: write the whole path inside the package, from /, or the base name "+
			"alone", s)
	}
	return nil
}

func parseAge(s string) (Age, error) {
	m := ageForm().FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return Age{}, fmt.Errorf("%q is not an age: for example \"13 months\", \"2 years\", \"90 "+
			"days\"", s)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil || n == 0 {
		return Age{}, fmt.Errorf("%q is not an age beyond zero", s)
	}
	switch m[2] {
	case "day":
		return Age{Days: n}, nil
	case "week":
		return Age{Days: 7 * n}, nil
	case "month":
		return Age{Months: n}, nil
	}
	return Age{Years: n}, nil
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

// isEngine knows where the engine may come from.
func isEngine(s string) error {
	if s != EngineSystem && s != EngineBundled {
		return fmt.Errorf("%q must be %s (the package requires lpbuild) or %s (the package "+
			"carries it)", s, EngineSystem, EngineBundled)
	}
	return nil
}

// isEntries knows which functions may be replaced.
func isEntries(s string) error {
	if _, err := symtab.ParseEntries(s); err != nil {
		return fmt.Errorf("%w (functions with NOPs at their entries, or any where it is proven "+
			"to be safe)", err)
	}
	return nil
}

// isUnwinding knows what may pass through the replacements of a live patch.
func isUnwinding(s string) error {
	if _, err := ulp.ParseUnwinding(s); err != nil {
		return fmt.Errorf("%w (exceptions and cancellation come by the replacements as it may "+
			"be, or none does)", err)
	}
	return nil
}
