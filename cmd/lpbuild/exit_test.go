package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
)

// TestExitCodes checks the exit codes of errors that callers distinguish.
func TestExitCodes(t *testing.T) {
	for want, err := range map[int]error{
		console.ExitOK: nil, console.ExitError: errors.New("x"),
		console.ExitUsage:     fmt.Errorf("w: %w", console.Usage(errors.New("x"), "lpbuild")),
		console.ExitSignature: fmt.Errorf("w: %w", pgp.ErrExpired),
	} {
		if got := lpbuild.ExitCode(err); got != want {
			t.Errorf("exit code of %v is %d, want %d", err, got, want)
		}
	}
	// A stalled transfer is cancelled, too: only a signal makes a run one that was interrupted.
	if got := lpbuild.ExitCode(fmt.Errorf("the transfer: %w",
		context.Canceled)); got != console.ExitError {
		t.Errorf("exit code of a cancelled transfer is %d, want %d", got, console.ExitError)
	}
}
