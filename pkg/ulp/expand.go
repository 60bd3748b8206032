package ulp

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Expansion is what a template's placeholders become for one build of the target.
type Expansion struct {
	Version string      // of the target's package: {version}
	Release string      // of the target's package: {release}
	Arch    symtab.Arch // {arch}
	// Target replaces {library} and the words LIBC, LIBPTHREAD and LIBRT: the path of the library
	// or of its catalogue. From glibc 2.34 on, libpthread and librt live in libc.so.6; for an older
	// one, Words say where they are.
	Target string
	// Words are further words and what they become; a word like "{name}" is a placeholder. They go
	// before those above, and an empty value makes the use of the word an error. Optional.
	Words map[string]string
}

// What an expanded description may hold at most, so that a short template for a large library does
// not explode.
const (
	maxPatterns  = 500
	maxExpansion = maxContent // functions
)

// Expand returns the description for one build of the target.
//
// In the names of container and target the placeholders {version}, {release}, {arch} and {library}
// are replaced, and so are the words of older templates: GLIBCVER by "version-release", LIBC,
// LIBPTHREAD and LIBRT by the target. Where several words fit, the longest is taken: GLIBCVER is
// one word, not LIBC with something around it. What was inserted is not looked at again.
//
// Then the patterns in names of functions to replace, which have the syntax of [path.Match], become
// one line for each function of lib that they match, sorted by name. What stands before the first
// wildcard must name an indirect function, as __memcpy_* does memcpy: the pattern stands for the
// functions that its code can return, as far as they match, and for no others of such a name. It
// never stands for a name with "_chk" in it, nor for what the description names itself, and of
// several names of one function only for the shortest. Where the versions of a name are different
// functions, each has a line, with its version. A pattern with an "@" matches names with versions,
// bar@V1 or bar@@V2, and is refused if one of these is an indirect function but not all of them
// are. If lib is nil, patterns are left as they are.
//
// Positions stay those of the template. The error is a [diag.List] with everything that is wrong:
// unknown placeholders and those without a value ([ErrPlaceholder]), patterns that are malformed,
// or of which it is not known what they may stand for ([ErrPattern]), or that match nothing
// ([ErrNoMatch]), and a container whose name is not a plain file name that ends in .so
// ([ErrContainerName]).
func (d *Description) Expand(x Expansion, lib *symtab.Library) (*Description, error) {
	e := expander{d: d, values: x.values()}
	e.words = slices.SortedFunc(maps.Keys(e.values), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	out := &Description{File: d.File, Comments: slices.Clone(d.Comments),
		References: slices.Clone(d.References), lines: d.lines}
	out.Target = e.name(d.Target)
	out.Container = e.name(d.Container)
	if len(e.errs) == 0 {
		e.checkContainer(out.Container)
		e.checkTarget(out.Target)
	}
	out.Functions = e.functions(lib)
	if err := e.errs.Err(); err != nil {
		return nil, err
	}
	return out, nil
}

// values returns all words with what they become.
func (x Expansion) values() map[string]string {
	full := ""
	if x.Version != "" && x.Release != "" {
		full = x.Version + "-" + x.Release
	}
	values := map[string]string{
		"{version}": x.Version, "{release}": x.Release, "{arch}": string(x.Arch),
		"{library}": x.Target,
		"GLIBCVER":  full, "LIBC": x.Target, "LIBPTHREAD": x.Target, "LIBRT": x.Target,
	}
	maps.Copy(values, x.Words)
	delete(values, "")
	return values
}

// expander is the state of one Expand.
type expander struct {
	d      *Description
	values map[string]string
	words  []string // keys of values, longest first
	errs   diag.List
}

// name replaces the words in n.
func (e *expander) name(n Name) Name {
	var b strings.Builder
	for i := 0; i < len(n.Text); {
		word := e.wordAt(n.Text[i:])
		if word == "" {
			b.WriteByte(n.Text[i])
			i++
			continue
		}
		value, known := e.values[word]
		switch {
		case !known:
			names := slices.DeleteFunc(slices.Clone(e.words), func(w string) bool {
				return w[0] != '{'
			})
			slices.Sort(names)
			e.fail(n, i, word, fmt.Sprintf("unknown placeholder %s", word),
				"there are "+strings.Join(names, ", "))
		case value == "":
			e.fail(n, i, word, word+" has no value for this build", "")
		}
		b.WriteString(value)
		i += len(word)
	}
	return Name{b.String(), n.Pos}
}

// wordAt returns the word or placeholder, known or not, at the start of s, or "".
func (e *expander) wordAt(s string) string {
	for _, w := range e.words {
		if strings.HasPrefix(s, w) {
			return w
		}
	}
	if s[0] != '{' {
		return ""
	}
	if end := strings.IndexByte(s, '}'); end >= 0 {
		return s[:end+1]
	}
	return s
}

func (e *expander) fail(n Name, at int, word, message, hint string) {
	found := e.d.finding(n, ErrPlaceholder, "%s", message)
	if found.Column > 0 {
		found.Column += at
		found.Length = len(word)
	}
	found.Hint = hint
	e.errs = append(e.errs, found)
}

// checkContainer refuses names that could not be a file in the build directory, or not be read as a
// container again.
func (e *expander) checkContainer(n Name) {
	var why string
	switch s := n.Text; {
	case strings.Contains(s, "/"):
		why = "is a path; a name without directories is wanted"
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == ':' }):
		why = "has a blank, a colon or a control character in it"
	case len(s) > 255:
		why = fmt.Sprintf("has %d bytes; a file name has at most 255", len(s))
	case !strings.HasSuffix(s, ".so") || s == ".so":
		why = "does not end in .so"
	case strings.ContainsRune("!#*@-", rune(s[0])):
		why = fmt.Sprintf("begins with %q", s[0])
	default:
		return
	}
	found := e.d.finding(n, ErrContainerName, "the container's name %q %s", n.Text, why)
	found.Hint = "packages name it like libc_{version}-{release}_livepatch1.so"
	e.errs = append(e.errs, found)
}

// checkTarget refuses what ParseDescription would not read as a target again.
func (e *expander) checkTarget(n Name) {
	var why string
	switch s := n.Text; {
	case len(s) > 4096:
		why = fmt.Sprintf("has %d bytes; a path has at most 4096", len(s))
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		why = "has a control character in it"
	case strings.Trim(s, " ") != s:
		why = "begins or ends with a blank"
	default:
		return
	}
	e.errs = append(e.errs, e.d.finding(n, ErrTarget, "the target's path %s", why))
}
