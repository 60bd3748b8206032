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

// Package is what a spec file says.
type Package struct {
	Name, Version string
	Summary       string
	License       string
	URL           string
	Description   string
	Arch          []string // RPM's names
	Packages      []string // packages whose builds are patched; the live patch is recommended where they are installed
	Libraries     []string // base names of what is patched, for the %post hook
	Comments      []string // CVE and bug numbers
	Unsigned      bool
	Bundled       bool  // the package carries the engine; else it requires lpbuild
	Time          int64 // of all files in the package, in seconds since 1970; 0: when they are built
	Groups        int   // in how many parts the build service builds it; below 2: as a whole
}

// ArchBefore15SP7 returns the architectures for SUSE Linux Enterprise and Leap 15 up to service pack 6, which have live
// patches for x86_64 only; nil if that makes no difference.
func (p Package) ArchBefore15SP7() []string {
	early := slices.DeleteFunc(slices.Clone(p.Arch), func(a string) bool { return a == "ppc64le" })
	if len(early) == len(p.Arch) || len(early) == 0 {
		return nil
	}
	return early
}

// Render returns the spec file. Every value is escaped: none can become a macro, another tag or a line of a script.
func (p Package) Render() ([]byte, error) {
	if err := p.escape(); err != nil {
		return nil, err
	}
	return render("package.spec.tmpl", p)
}

// render fills a template in.
func render(name string, p Package) ([]byte, error) {
	t, err := template.New(name).Funcs(template.FuncMap{"join": strings.Join}).ParseFS(templates.FS, name)
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
		{"name", &p.Name}, {"version", &p.Version}, {"summary", &p.Summary}, {"license", &p.License}, {"url", &p.URL},
	} {
		escaped, err := EscapeTag(*f.value)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.what, err))
		}
		*f.value = escaped
	}
	if strings.ContainsFunc(p.URL, unicode.IsSpace) {
		errs = append(errs, fmt.Errorf("url: %q has a blank in it: write %%20", p.URL))
	}
	for _, s := range []string{p.Name, p.Version} { // they are words of scripts
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
		comments[i] = EscapeText(strings.Join(strings.Fields(c), " "))
	}
	p.Comments, p.Description = comments, EscapeText(p.Description)
	return errors.Join(errs...)
}

func isPlain(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._+-~^", r)
}

// EscapeTag returns s as the value of a tag: one line, and no macro in it.
func EscapeTag(s string) (string, error) {
	if strings.TrimSpace(s) == "" || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return "", fmt.Errorf("%q is not one line of text", s)
	}
	return strings.ReplaceAll(s, "%", "%%"), nil
}

// EscapeText returns s as text of %description: no macro in it, no line that RPM would take for the beginning of a section
// or a condition, which it looks for after it has expanded macros, and none that it would leave out as a comment.
func EscapeText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r <= 0x9f {
			return -1
		}
		return r
	}, s)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if text := strings.TrimLeft(line, " \t"); strings.HasPrefix(text, "%") || strings.HasPrefix(text, "#") {
			lines[i] = "* " + line
		}
	}
	return strings.ReplaceAll(strings.Join(lines, "\n"), "%", "%%")
}
