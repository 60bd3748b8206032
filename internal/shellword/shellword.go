// Package shellword writes commands as a person would type them into a shell: what is shown can be copied and run.
package shellword

import (
	"strings"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
)

// plain is a word that a shell takes as it is.
var plain = lazyregexp.New(`^[A-Za-z0-9_@%+=:,./-]+$`)

// Join returns the words of a command with blanks between them, quoted for a POSIX shell where they need it.
func Join(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		if quoted[i] = word; !plain().MatchString(word) {
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
