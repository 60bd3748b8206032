package download

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// TestEachKeepsErrors reports an error that wraps context.Canceled like any other, unless the
// cancellation of the other calls caused it.
func TestEachKeepsErrors(t *testing.T) {
	r := &run{Options: Options{Jobs: 2}}
	err := r.each(t.Context(), 1, func(context.Context, int) error {
		return fmt.Errorf("a server's: %w", context.Canceled)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the only error is lost: %v", err)
	}
	real := errors.New("real")
	err = r.each(t.Context(), 2, func(ctx context.Context, i int) error {
		if i == 0 {
			return real
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, real) || errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want the first error alone", err)
	}
}
