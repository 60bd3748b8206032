package hook

import (
	"errors"
	"fmt"
	"strings"
)

// maxName bounds the names that scriptlets pass, in bytes.
const maxName = 200

// errName means that the name of a package, version or library is invalid.
var errName = errors.New("not a valid name")

// checkName rejects everything but plain names, which become parts of paths and messages.
func checkName(what, name string) error {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			strings.ContainsRune("._+-~^", r)
	}
	switch {
	case name == "", len(name) > maxName, name[0] == '.', name[0] == '-', strings.ContainsFunc(name,
		func(r rune) bool { return !plain(r) }):
		return fmt.Errorf("%s %.60q: %w: use letters, digits and . _ + - ~ ^ only", what, name,
			errName)
	}
	return nil
}
