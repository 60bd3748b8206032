package buildmatrix

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// quoted matches strings and characters, staticOriginal a definition of a pointer to former code in what is left, static or in a
// namespace without a name: no statement ends in between (but for other variables of the namespace), and nothing is assigned.
var (
	quoted         = lazyregexp.New(`"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'`)
	staticOriginal = lazyregexp.New(`(?:\bstatic\b[^;{}=]*?|\bnamespace\s*\{[^{}=]*?)\b(` + ulp.OriginalPrefix + `\w+)`)
)

// staticOriginals returns the names of pointers to former code that a preprocessed source defines as static, or in a namespace without a
// name. A compiler sees that nobody writes to such a pointer, and takes it for zero.
func staticOriginals(text []byte) []string {
	if !bytes.Contains(text, []byte(ulp.OriginalPrefix)) {
		return nil
	}
	var names []string
	for _, m := range staticOriginal().FindAllSubmatch(quoted().ReplaceAll(text, nil), -1) {
		names = append(names, string(m[1]))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// optimisedAway returns a reason for each pointer to former code that the compiler has left out.
func (j *job) optimisedAway() []Reason {
	var reasons []Reason
	for _, name := range j.object.statics {
		if _, ok := j.object.container.Lookup(name); !ok {
			reasons = append(reasons, Reason{Code: codeOf(ulp.ErrOriginal), Message: fmt.Sprintf("the pointer %s is static, or in a namespace without a name: nothing in the source "+
				"writes to it, so the compiler has taken it for zero", name), Hint: "define it without static, outside of namespaces"})
		}
	}
	return reasons
}
