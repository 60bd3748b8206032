package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/lpbuild/lpbuild/pkg/engine/native"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// ErrUnsure means that only a stop shows whether the process can be changed: all its threads have
// system call filters, which the kernel shows to a tracer alone.
var ErrUnsure = errors.New("its seccomp filters can only be read while it is stopped, and may " +
	"forbid patching")

// admit is the decision about a process as a whole: nil, or why an engine changes nothing there,
// now or ever. A run and a dry run ask its two halves, around the question whether there is
// anything to do; Look asks it, and nothing else: so they cannot say different things.
func admit(ctx context.Context, v *View, t Target) error {
	if err := willing(ctx, v, t); err != nil {
		return err
	}
	return hinders(ctx, v, t)
}

// willing returns why nothing is put into a process whatever is tried: its owner does not want it,
// or the kernel.
func willing(ctx context.Context, v *View, t Target) error {
	if err := t.Enabled(ctx); err != nil {
		return err
	}
	if v.Process.Seccomp == process.SeccompStrict {
		return fmt.Errorf("strict mode: %w", native.ErrSeccomp)
	}
	switch free, err := v.Process.Unshadowed(ctx); {
	case err != nil:
		return err
	case !free:
		return fmt.Errorf("all its threads have shadow stacks, which the way back from a system "+
			"call would not fit: %w", tracer.ErrUnsupported)
	}
	return nil
}

// hinders returns an [AgainError] for a process that cannot be changed at the moment.
func hinders(ctx context.Context, v *View, t Target) error {
	if err := stoppable(v.Process); err != nil {
		return err
	}
	if err := vforked(v.Process); err != nil {
		return err
	}
	if err := traced(v.Process); err != nil {
		return err
	}
	if err := frozen(ctx, v.Process); err != nil {
		return err
	}
	return t.Alone()
}
