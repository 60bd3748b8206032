package download

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// TestEachKeepsErrors: an error that wraps context.Canceled is a reason like any other, unless it is
// the answer to the end of the others.
func TestEachKeepsErrors(t *testing.T) {
	r := &run{Options: Options{Jobs: 2}}
	err := r.each(t.Context(), 1, func(context.Context, int) error { return fmt.Errorf("a server's: %w", context.Canceled) })
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
		t.Errorf("%v, want the first error alone", err)
	}
}
