package shellword_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/internal/shellword"
)

func ExampleJoin() {
	fmt.Println(shellword.Join("osc", "commit", "-m", "it's done; $5"))
	// Output: osc commit -m 'it'\''s done; $5'
}

// FuzzJoin checks that a shell splits a joined command into the same words.
func FuzzJoin(f *testing.F) {
	for _, s := range []string{"", "plain", "-n", "a b", "$(id)", "`id`", "'", "''", "a\nb\n", "~",
		"*", "\\", "#", "\xff", "a=b;c&d|e<f>g"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, word string) {
		if strings.ContainsRune(word, 0) {
			t.Skip("arguments cannot contain NUL")
		}
		out, err := exec.CommandContext(t.Context(), "sh", "-c",
			shellword.Join("printf", "%s.", word, word)).Output()
		if err != nil || string(out) != word+"."+word+"." {
			t.Errorf("%q became %q (%v)", word, out, err)
		}
	})
}
