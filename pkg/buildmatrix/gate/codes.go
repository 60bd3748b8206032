package gate

import (
	"errors"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// codes are the words by which programs tell the gate's reasons apart.
var codes = []struct {
	err  error
	code string
}{
	{ulp.ErrSyntax, "syntax"},
	{ulp.ErrNothing, "replaces-nothing"},
	{ulp.ErrNoSymbol, "no-symbol"},
	{ulp.ErrAmbiguous, "ambiguous"},
	{ulp.ErrIFUNC, "ifunc"},
	{ulp.ErrNotFunction, "not-a-function"},
	{ulp.ErrClone, "clones"},
	{ulp.ErrNotPatchable, "not-patchable"},
	{ulp.ErrRegisters, "registers"},
	{ulp.ErrDuplicate, "duplicate"},
	{ulp.ErrNotExported, "not-exported"},
	{ulp.ErrReference, "reference"},
	{ulp.ErrOriginal, "original"},
	{ulp.ErrTLS, "thread-local"},
	{ulp.ErrNoBuildID, "no-build-id"},
	{ulp.ErrArch, "architecture"},
	{ulp.ErrTarget, "other-target"},
	{ulp.ErrTooLarge, "too-large"},
	{ulp.ErrPlaceholder, "placeholder"},
	{ulp.ErrPattern, "bad-pattern"},
	{ulp.ErrNoMatch, "no-match"},
	{ulp.ErrContainerName, "container-name"},
}

func codeOf(err error) string {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return "invalid"
}
