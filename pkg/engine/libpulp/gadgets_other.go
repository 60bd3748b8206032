//go:build !amd64

package libpulp

import "github.com/lpbuild/lpbuild/pkg/engine/tracer"

// Without a tracer nothing comes this far.
var loading, unloading []tracer.Call

func (*Session) allowed([]tracer.Call) error { return tracer.ErrUnsupported }

// gadgets: package tracer cannot stop a process here, and [NewPatch] refuses what is not for
// x86_64.
func (*Runtime) gadgets(memory) (tracer.Gadgets, error) {
	return tracer.Gadgets{}, fault(ErrUnknown, tracer.ErrUnsupported, "on this architecture")
}
