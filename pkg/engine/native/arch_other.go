//go:build !amd64

package native

import (
	"context"

	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// What an architecture has to bring, in files of its own. Entries, relocations and stubs are
// x86_64's too: NewPatch refuses containers for others.

func findGadgets(context.Context, *view) (tracer.Gadgets, error) {
	return tracer.Gadgets{}, symtab.ErrUnsupported
}
