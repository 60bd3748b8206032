package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/download/pgp"
)

// TestExitCodes maps what callers may tell apart.
func TestExitCodes(t *testing.T) {
	for want, err := range map[int]error{
		exitOK: nil, exitError: errors.New("x"), exitUsage: fmt.Errorf("w: %w", &usageError{errors.New("x"), "lpbuild"}),
		exitSignature: fmt.Errorf("w: %w", pgp.ErrExpired),
	} {
		if got := lpbuild.exitCode(err); got != want {
			t.Errorf("exit code of %v is %d, want %d", err, got, want)
		}
	}
	// A stalled transfer is cancelled, too: only a signal makes a run one that was interrupted.
	if got := lpbuild.exitCode(fmt.Errorf("the transfer: %w", context.Canceled)); got != exitError {
		t.Errorf("exit code of a cancelled transfer is %d, want %d", got, exitError)
	}
}
