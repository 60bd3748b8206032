package spec

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"unicode"
	"unicode/utf8"

	"github.com/lpbuild/lpbuild/templates"
)

// Package holds the properties in a spec file.
type Package struct {
	Name, Version string
	Summary       string
	License       string
	URL           string
	Description   string
	Arch          []string // RPM's names
	// packages whose builds are patched; the live patch is recommended where they are installed
	Packages  []string
	Libraries []string // base names of the patched libraries, for the %post hook
	Comments  []string // CVE and bug numbers
	Unsigned  bool
	Bundled   bool // whether the package contains the engine; otherwise it requires lpbuild
	// of all files in the package, in seconds since 1970; 0 means the time of the build
	Time   int64
	Groups int // number of parts that the build service builds; below 2 means the whole
}

// ArchBefore15SP7 returns the architectures for SUSE Linux Enterprise and Leap 15 up to service
// pack 6, which have live patches for x86_64 only; nil if that makes no difference.
func (p Package) ArchBefore15SP7() []string {
	early := slices.DeleteFunc(slices.Clone(p.Arch), func(a string) bool { return a == "ppc64le" })
	if len(early) == len(p.Arch) || len(early) == 0 {
		return nil
	}
	return early
}

// Render returns the spec file. Every value is escaped: none can become a macro, another tag or a
// line of a script.
func (p Package) Render() ([]byte, error) {
	if err := p.escape(); err != nil {
		return nil, err
	}
	return render("package.spec.tmpl", p)
}

// render executes a template.
func render(name string, p Package) ([]byte, error) {
	t, err := template.New(name).Funcs(template.FuncMap{"join": strings.Join}).ParseFS(templates.FS,
		name)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (p *Package) escape() error {
	var errs []error
	for _, f := range []struct {
		what  string
		value *string
	}{
		{"name", &p.Name}, {"version", &p.Version}, {"summary", &p.Summary},
		{"license", &p.License}, {"url", &p.URL},
	} {
		escaped, err := escapeTag(*f.value)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.what, err))
		}
		*f.value = escaped
	}
	if strings.ContainsFunc(p.URL, unicode.IsSpace) {
		errs = append(errs, fmt.Errorf("url: %q contains a blank: write %%20", p.URL))
	}
	for _, s := range []string{p.Name, p.Version} { // they become words of scripts
		if strings.ContainsFunc(s, func(r rune) bool { return !isPlain(r) }) {
			errs = append(errs, fmt.Errorf("%q is not a plain name", s))
		}
	}
	for _, list := range []*[]string{&p.Arch, &p.Packages, &p.Libraries} {
		escaped := make([]string, len(*list))
		for i, s := range *list {
			if strings.ContainsFunc(s, func(r rune) bool { return !isPlain(r) }) || s == "" {
				errs = append(errs, fmt.Errorf("%q is not a plain name", s))
			}
			escaped[i] = s
		}
		*list = escaped
	}
	comments := make([]string, len(p.Comments))
	for i, c := range p.Comments {
		comments[i] = escapeText(strings.Join(strings.Fields(c), " "))
	}
	p.Comments, p.Description = comments, escapeText(p.Description)
	return errors.Join(errs...)
}

// Flavors returns the package's flavors.
func (p Package) Flavors() []Flavor { return Flavors(p.Groups) }

func isPlain(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
		strings.ContainsRune("._+-~^", r)
}

// escapeTag returns s as the value of a tag: one line without macros.
func escapeTag(s string) (string, error) {
	if strings.TrimSpace(s) == "" || !utf8.ValidString(s) ||
		strings.ContainsFunc(s, unicode.IsControl) {
		return "", fmt.Errorf("%q is not one line of text", s)
	}
	return strings.ReplaceAll(s, "%", "%%"), nil
}

// escapeText returns s as text of %description: without macros, without lines that RPM would take
// for the start of a section or a condition after it has expanded macros, and without lines that it
// would skip as comments.
func escapeText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r <= 0x9f {
			return -1
		}
		return r
	}, s)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if text := strings.TrimLeft(line, " \t"); strings.HasPrefix(text, "%") ||
			strings.HasPrefix(text, "#") {
			lines[i] = "* " + line
		}
	}
	return strings.ReplaceAll(strings.Join(lines, "\n"), "%", "%%")
}
