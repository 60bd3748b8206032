package process

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A call that the kernel does not come back from is left behind when the time is over, and counted
// until it comes.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		hang := make(chan struct{})
		v, err := await(ctx, func() (int, error) { <-hang; return 7, nil })
		if v != 0 || !errors.Is(err, context.DeadlineExceeded) || stuck.Load() != 1 {
			t.Errorf("await: %d, %v, %d stuck", v, err, stuck.Load())
		}
		close(hang)
		synctest.Wait()
		if stuck.Load() != 0 {
			t.Errorf("%d stuck after all came back", stuck.Load())
		}
	})
}

func TestAwaitTooManyStuck(t *testing.T) {
	stuck.Add(maxStuck)
	defer stuck.Add(-maxStuck)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := await(ctx, func() (int, error) { return 7, nil }); !errors.Is(err, ErrBusy) {
		t.Errorf("await: %v, want ErrBusy", err)
	}
}

func TestAwaitResult(t *testing.T) {
	want := errors.New("no")
	if v, err := await(t.Context(), func() (int, error) { return 7, want }); v != 7 ||
		!errors.Is(err, want) {
		t.Errorf("await: %d, %v", v, err)
	}
	if v, err := await(context.Background(), func() (int, error) { return 7, nil }); v != 7 ||
		err != nil {
		t.Errorf("await without an end: %d, %v", v, err)
	}
}
