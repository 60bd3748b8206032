package hook

import (
	"errors"
	"fmt"
	"strings"
)

// maxName bounds the names that scriptlets hand over, in bytes.
const maxName = 200

// ErrName says that a package, a version or a library has a name that none has.
var ErrName = errors.New("not a name")

// checkName refuses what is not a plain name: such a name becomes a part of paths and of messages.
func checkName(what, name string) error {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._+-~^", r)
	}
	switch {
	case name == "", len(name) > maxName, name[0] == '.', name[0] == '-', strings.ContainsFunc(name, func(r rune) bool { return !plain(r) }):
		return fmt.Errorf("%s %.60q: %w: letters, digits and . _ + - ~ ^ only", what, name, ErrName)
	}
	return nil
}
