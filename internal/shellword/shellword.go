// Package shellword formats commands as a user would type them into a shell: printed commands can
// be copied and run.
package shellword

import (
	"strings"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
)

// plain matches a word that needs no quotes.
var plain = lazyregexp.New(`^[A-Za-z0-9_@%+=:,./-]+$`)

// Join joins the words of a command with blanks, and quotes them for a POSIX shell where necessary.
func Join(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		if quoted[i] = word; !plain().MatchString(word) {
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
