package hook

import (
	"testing"
	"time"
)

// TestShares adds up the times in the worst case: the scriptlet ends before its deadline, and each
// part has some time.
func TestShares(t *testing.T) {
	for _, deadline := range []time.Duration{leastDeadline, 3 * time.Second, DefaultDeadline,
		45 * time.Second, mostDeadline} {
		worker := WorkerDeadline(deadline)
		if worker <= 0 || deadline-worker > grace || deadline-worker < min(grace, deadline/20) {
			t.Errorf("with a deadline of %v, the worker gets %v", deadline, worker)
		}
		lock := worker / lockShare
		for _, files := range []time.Duration{0, time.Millisecond, worker / 4, worker / 2} {
			left := worker - lock - files
			begin, process := shares(left, worker)
			if worst := lock + files + begin + process + margin(worker); worst > worker {
				t.Errorf("with a deadline of %v and %v after the lock, it takes %v", worker, files,
					worst)
			}
			if begin <= 0 || process < begin {
				t.Errorf("with a deadline of %v and %v after the lock, processes are begun for "+
					"%v, each has %v", worker, files, begin, process)
			}
		}
		for _, left := range []time.Duration{0, -time.Hour} { // zero would mean no limit
			if begin, process := shares(left, worker); begin <= 0 || process <= 0 ||
				begin+process > leastTime {
				t.Errorf("of %v, with %v left: %v, %v", worker, left, begin, process)
			}
		}
	}
	if begin, process := shares(WorkerDeadline(DefaultDeadline),
		WorkerDeadline(DefaultDeadline)); begin < 8*time.Second || process < 17*time.Second {
		t.Errorf("by default processes are begun for %v, each has %v", begin, process)
	}
}
