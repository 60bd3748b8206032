//go:build !amd64

package tracer

import (
	"errors"
	"os"
	"testing"
)

func TestUnsupported(t *testing.T) {
	_, err := Run(t.Context(), os.Getppid(), Options{}, func(*Tracee) error { return nil })
	if !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
}
