package trigger

import (
	"context"

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
)

// frozen returns an AgainError with ErrFrozen for a process that would make no system calls.
func frozen(ctx context.Context, p *process.Process) error {
	is, err := p.Frozen(ctx)
	if is {
		return &AgainError{Err: ErrFrozen}
	}
	return err
}
