//go:build !amd64

package inject

import (
	"context"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/tracer"
)

// What an architecture has to bring, in files of its own. Entries, relocations and stubs are x86_64's too: NewPatch
// refuses containers for others.

func findGadgets(context.Context, *view) (tracer.Gadgets, error) {
	return tracer.Gadgets{}, ulp.ErrUnsupported
}

// batch is what loads blobs in one go.
type batch struct{}

func newBatch([]int, []*freed, []*blob) *batch { return nil }

var errNotThere = ulp.ErrUnsupported

func leakedFiles(int) map[int]bool                   { return nil }
func (*run) load(context.Context) error              { return ulp.ErrUnsupported }
func (*run) fill() error                             { return ulp.ErrUnsupported }
func (*run) fillSent() error                         { return ulp.ErrUnsupported }
func (*run) takeSent() bool                          { return false }
func (*run) sendAgain(context.Context) error         { return ulp.ErrUnsupported }
func (*run) unmap(context.Context, []*freed, ...int) {}
func (*run) free(context.Context)                    {}
