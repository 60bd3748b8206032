package compile

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/diag"
)

// marker is a line of preprocessed source that says where the next lines come from: # 12 "path"
// flags.
type marker struct {
	line  int
	file  string
	enter bool // the file begins here: it was included
}

func parseMarker(line []byte) (m marker, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte("# "))
	start, end := bytes.IndexByte(rest, '"'), bytes.LastIndexByte(rest, '"')
	if !ok || start < 0 || end <= start {
		return m, false
	}
	name, err := strconv.Unquote(string(rest[start : end+1]))
	if err != nil || name == "" || strings.HasSuffix(name, "//") {
		return m, false
	}
	m.line, _ = strconv.Atoi(string(bytes.TrimSpace(rest[:start])))
	m.file, m.enter = name, slices.Contains(strings.Fields(string(rest[end+1:])), "1")
	return m, true
}

// includedFiles returns the files that preprocessed source came from, sorted.
func includedFiles(preprocessed []byte) []string {
	seen := map[string]bool{}
	for line := range bytes.Lines(preprocessed) {
		if m, ok := parseMarker(line); ok && m.file[0] != '<' {
			seen[m.file] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// includer returns the place in the source where a file is first included.
func includer(preprocessed []byte, file string) diag.Pos {
	var at diag.Pos
	for line := range bytes.Lines(preprocessed) {
		m, ok := parseMarker(line)
		switch {
		case !ok:
			at.Line++
		case m.file == file && m.enter:
			return at
		default:
			at.File, at.Line = m.file, m.line
		}
	}
	return diag.Pos{}
}

// hasTest matches a question for a header that may be absent.
var hasTest = lazyregexp.New(`__has_include(?:_next)?\s*\(\s*["<]([^">\n]+)[">]\s*\)`)

// absentFiles returns the files that are not there, but would be read instead of one of those that
// were, or would change the answer to __has_include. read are names of files, search the
// directories of headers; both as the compiler, which works in dir, calls them.
func absentFiles(dir string, read, search []string) []string {
	dirs := append(slices.Clone(search), ".")
	for _, name := range read {
		if f := filepath.Dir(name); filepath.IsLocal(name) && !slices.Contains(dirs, f) {
			dirs = append(dirs, f) // #include "..." looks beside the file that includes
		}
	}
	absent := map[string]bool{}
	look := func(name string) {
		for _, f := range dirs {
			candidate := filepath.Join(f, name)
			if _, known := absent[candidate]; !known {
				_, err := os.Stat(at(dir, candidate))
				absent[candidate] = err != nil
			}
		}
	}
	for _, name := range read {
		for _, f := range dirs {
			if rel, err := filepath.Rel(f, name); err == nil && filepath.IsLocal(rel) {
				look(rel) // how it may have been included
			}
		}
		if filepath.IsLocal(name) {
			for _, tested := range testedHeaders(at(dir, name)) {
				look(tested)
			}
		}
	}
	var names []string
	for name, missing := range absent {
		if missing {
			names = append(names, name)
		}
	}
	return names
}

// testedHeaders returns the headers that a file of the package asks for by __has_include.
func testedHeaders(file string) []string {
	text, err := regularfile.Read(file, config.MaxConfig)
	if err != nil {
		return nil
	}
	var names []string
	for _, m := range hasTest().FindAllSubmatch(text, -1) {
		names = append(names, string(m[1]))
	}
	return names
}

// absentLibraries returns the files that the linker would take instead of a library that it read,
// were they in one of the directories of the package that -L names.
func absentLibraries(dir string, read, flags []string) []string {
	var names []string
	for i, flag := range flags {
		search, ok := strings.CutPrefix(flag, "-L")
		if ok && search == "" && i+1 < len(flags) {
			search = flags[i+1]
		}
		if !ok || !filepath.IsLocal(search) {
			continue
		}
		for _, name := range read {
			base := filepath.Base(name)
			stem := strings.TrimSuffix(strings.TrimSuffix(base, ".so"), ".a")
			for _, candidate := range []string{base, stem + ".so", stem + ".a"} {
				candidate = filepath.Join(search, candidate)
				if _, err := os.Stat(at(dir, candidate)); err != nil &&
					strings.HasPrefix(base, "lib") && !slices.Contains(names, candidate) {
					names = append(names, candidate)
				}
			}
		}
	}
	return names
}

// readsInAssembler reports whether assembly may read files that the preprocessor does not know of.
func readsInAssembler(text []byte) bool {
	return bytes.Contains(text, []byte(".incbin")) || bytes.Contains(text, []byte(".include"))
}

// makeRule returns the files in the first rule of a dependency file as the GNU assembler writes it:
// "target: file file \", with a backslash before blanks in names.
func makeRule(rule string) []string {
	rule = strings.ReplaceAll(rule, "\\\n", " ")
	rule, _, _ = strings.Cut(rule, "\n")
	_, rule, _ = strings.Cut(rule, ": ")
	var names []string
	var name strings.Builder
	for i := 0; i < len(rule); i++ {
		switch c := rule[i]; {
		case c == '\\' && i+1 < len(rule) && (rule[i+1] == ' ' || rule[i+1] == '\\' ||
			rule[i+1] == '#'):
			i++
			name.WriteByte(rule[i])
		case c == '$' && i+1 < len(rule) && rule[i+1] == '$':
			i++
			name.WriteByte('$')
		case c == ' ':
			if name.Len() > 0 {
				names = append(names, name.String())
				name.Reset()
			}
		default:
			name.WriteByte(c)
		}
	}
	if name.Len() > 0 {
		names = append(names, name.String())
	}
	return names
}

// linkerRule returns the files in the first rule of a dependency file as the GNU linker writes it:
// "target: \", then a file per line. The linker escapes nothing.
func linkerRule(rule string) []string {
	var names []string
	first := true
	for line := range strings.Lines(rule) {
		name := strings.TrimSpace(strings.TrimSuffix(strings.TrimRight(line, "\n"), "\\"))
		switch {
		case first:
			first = false
		case name == "":
			return names
		default:
			names = append(names, name)
		}
	}
	return names
}

// InputError says that compiling reads a file that the source package would not have.
type InputError struct {
	Finding *diag.Diagnostic
}

func (e *InputError) Error() string { return e.Finding.Error() }

// Unwrap returns the finding, which has place and hint.
func (e *InputError) Unwrap() error { return e.Finding }

// systemDirs hold what packages of a distribution install: a build elsewhere has them, too.
var systemDirs = []string{"/usr", "/lib", "/lib64", "/lib32"}

// outsideReason returns why a file that was read would not be there where the source package is
// built; "" if it would.
func outsideReason(name string, own []string) string {
	clean := filepath.Clean(name)
	switch {
	case filepath.IsLocal(clean) && within("/"+clean, "/"+config.BuildDir) &&
		!within("/"+clean, "/"+relObjects):
		return "lies in " + config.BuildDir + ", which lpbuild fills and empties"
	case filepath.IsLocal(clean):
		return ""
	case !filepath.IsAbs(clean):
		return "is outside of the package directory"
	case slices.ContainsFunc(slices.Concat(systemDirs, own), func(f string) bool {
		return within(clean, f)
	}):
		return ""
	}
	return "is named by an absolute path, which is another machine's affair"
}

// outside returns the error for a file that must not be read, with the place where it is asked for
// if that is known.
func outside(dir, name, why string, preprocessed []byte) *InputError {
	d := &diag.Diagnostic{
		Message: fmt.Sprintf("%s %s: the source package would not build", filepath.Clean(name),
			why),
		Hint: "copy it into the package directory, and name it from there; system headers belong " +
			"below /usr",
	}
	if pos := includer(preprocessed, name); pos.Line > 0 && filepath.IsLocal(pos.File) {
		d.Pos = pos
		if text, err := regularfile.Read(at(dir, pos.File), config.MaxConfig); err == nil {
			d.Source = diag.Line(text, pos.Line)
			d.Column = max(1, 1+strings.IndexAny(d.Source, `"<`))
			d.Length = max(1, len(strings.TrimRight(d.Source, " \t"))-d.Column+1)
		}
	}
	return &InputError{d}
}
