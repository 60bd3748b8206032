package process

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSharersUnknown: where it cannot be seen who there is, or what memory a process has, it is not
// called alone.
func TestSharersUnknown(t *testing.T) {
	self, err := Look(t.Context(), os.Getpid(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	empty, broken := t.TempDir(), t.TempDir()
	dir := filepath.Join(broken, strconv.Itoa(os.Getpid()))
	if err := os.MkdirAll(filepath.Join(dir, "task", "1", "more"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "task", "2"), 0o755); err != nil {
		// several threads, and a state that makes no sense
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "stat"), []byte("garbled\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for root, want := range map[string]error{"/nowhere": unix.ENOENT, empty: ErrNoProc,
		broken: ErrMalformed} {
		s := Sharers{root: root}
		for range 2 { // the second time, too
			if other, _, err := s.With(self); other != 0 || !errors.Is(err, want) {
				t.Errorf("%s: %d, %v, want %v", root, other, err, want)
			}
		}
		s.root = ""
		if other, _, err := s.With(self); other != 0 || err != nil {
			t.Errorf("when it is seen again: %d, %v", other, err)
		}
	}
	gone := *self
	gone.PID, gone.StartTime = 1<<22, 1
	var s Sharers
	if _, _, err := s.With(&gone); !errors.Is(err, ErrGone) {
		t.Errorf("of a process that is gone: %v", err)
	}
}
