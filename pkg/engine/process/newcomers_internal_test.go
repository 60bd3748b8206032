package process

import (
	"os"
	"testing"
)

// TestIsNew takes another process for new although its PID was seen before, and one that was
// visited or will be for known.
func TestIsNew(t *testing.T) {
	pid := os.Getpid()
	s := newScan(t.Context(), ScanOptions{}, nil)
	if !s.isNew(pid) {
		t.Error("a process that was not seen is not new")
	}
	st, err := s.stat(pid)
	if err != nil {
		t.Fatal(err)
	}
	for seen, want := range map[uint64]bool{st.Start: false, st.Start - 1: true, inHand: false,
		0: true} {
		s.new.seen[pid] = seen
		if s.isNew(pid) != want {
			t.Errorf("seen with start time %d, it is new: %v, want %v", seen, !want, want)
		}
	}
	s.note(&task{pid: pid, gone: true})
	if !s.isNew(pid) {
		t.Error("a process that has the PID of one that was gone is not new")
	}
	if s.isNew(1 << 30) {
		t.Error("a process that is gone is new")
	}
}
