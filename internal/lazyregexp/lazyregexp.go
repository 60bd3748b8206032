// Package lazyregexp compiles regular expressions on first use.
//
// The program is one binary for many commands, and each run needs few of its expressions: compiling
// all of them as package variables took a millisecond at every start, a fifth of what patching a
// process takes.
package lazyregexp

import (
	"os"
	"regexp"
	"strings"
	"sync"
)

// New returns a function that compiles expr when it is first called. In tests it is compiled at
// once, so that any test of the package finds a wrong one.
func New(expr string) func() *regexp.Regexp {
	compile := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
	if strings.HasSuffix(os.Args[0], ".test") {
		compile()
	}
	return compile
}
