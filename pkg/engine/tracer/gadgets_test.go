package tracer

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// unreadable is memory of which nothing can be read.
type unreadable struct{}

func (unreadable) ReadAt([]byte, int64) (int, error) { return 0, unix.EIO }

// TestNoGadgets: memory without the instructions, and memory that cannot be read, which is said on
// one line.
func TestNoGadgets(t *testing.T) {
	ranges := []Range{{0x1000, 0x3000}, {0x5000, 0x6000}, {0x9000, 0x8000}}
	_, err := FindGadgets(unreadable{}, ranges)
	if !errors.Is(err, ErrGadget) || !errors.Is(err, unix.EIO) ||
		strings.Contains(err.Error(), "\n") {
		t.Errorf("unreadable: %q", err)
	}
	_, err = FindGadgets(strings.NewReader(strings.Repeat("\x90", 0x6000)), ranges)
	if !errors.Is(err, ErrGadget) || errors.Is(err, unix.EIO) {
		t.Errorf("without: %v", err)
	}
}
