package compile

import (
	"bytes"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// Nothing in a source writes to its pointers to former code: the engines do. A compiler that sees
// all uses of a variable takes such a pointer for zero, and leaves it out.

// Patterns of preprocessed source. quoted and directive match what is no code. originalName matches
// the name of a pointer to former code, localOriginal the definition of one that is static or in a
// namespace without a name: no statement ends before the name (but those of other variables of the
// namespace), and nothing is assigned.
var (
	quoted        = lazyregexp.New(`"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'`)
	directive     = lazyregexp.New(`(?m)^[ \t]*#.*$`)
	originalName  = lazyregexp.New(`\b(` + ulp.OriginalPrefix + `\w+)`)
	localOriginal = lazyregexp.New(`(?:\bstatic\b[^;{}=]*?|\bnamespace\s*\{[^{}=]*?)\b(` +
		ulp.OriginalPrefix + `\w+)`)
)

// originalsToSee returns the pointers to former code of a preprocessed source that the compiler may
// leave out. With link-time optimisation, which sees all sources at once, that is any pointer.
func originalsToSee(text []byte, cflags []string) []string {
	if !bytes.Contains(text, []byte(ulp.OriginalPrefix)) {
		return nil
	}
	text = quoted().ReplaceAll(directive().ReplaceAll(text, nil), nil)
	pattern := localOriginal()
	if slices.ContainsFunc(cflags, func(f string) bool {
		return strings.HasPrefix(f, "-flto") || f == "-fwhole-program"
	}) {
		pattern = originalName()
	}
	var names []string
	for _, m := range pattern.FindAllSubmatch(text, -1) {
		names = append(names, string(m[1]))
	}
	slices.Sort(names)
	return slices.Compact(names)
}
