package engine

import (
	"context"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// OpenView lets tests ask engines themselves.
var OpenView = openView

// Lift raises the limits of a process, and returns what restores them.
func Lift(ctx context.Context, p *process.Process,
	o process.Options) (restore func(context.Context)) {
	return lift(ctx, p, o).restore
}
