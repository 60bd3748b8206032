//go:build !amd64

package tracer

import (
	"errors"
	"os"
	"testing"
)

func TestUnsupported(t *testing.T) {
	if _, err := Attach(t.Context(), os.Getppid(), Options{}); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
	_, err := Run(t.Context(), os.Getppid(), Options{}, func(*Tracee) error { return nil })
	if !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
}
