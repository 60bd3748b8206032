package hook

import "time"

// A scriptlet's time is divided from the outside in, so that no part waits longer for an inner one
// than it has itself:
//
//	guard's deadline = start and end of the worker (grace) + worker's deadline
//	worker's deadline ≥ lock (1/lockShare) + files + begin + process + margin
const (
	// grace is the most by which a worker's deadline is shorter than its guard's: the guard loads
	// the program and passes on its output.
	grace = 3 * time.Second
	// graceShare is the divisor for the grace of a short deadline.
	graceShare = 10
	// lockShare is the divisor for the part of a deadline that may pass while waiting for other
	// runs.
	lockShare = 4
	// leastTime is the least time for all processes together, however little is left: looking at
	// them beats reporting nothing.
	leastTime = 60 * time.Millisecond
)

// WorkerDeadline returns the deadline of a worker, given that of its guard.
func WorkerDeadline(deadline time.Duration) time.Duration {
	return deadline - min(grace, deadline/graceShare)
}

// margin returns the part of a worker's deadline that is reserved for the work after the processes.
func margin(deadline time.Duration) time.Duration { return min(time.Second, deadline/10) }

// shares divides the rest of a worker's deadline: no process is begun after begin, and none may
// take longer than process. So even a process begun at the last moment has its time, and the
// deadline holds.
func shares(left, deadline time.Duration) (begin, process time.Duration) {
	left = max(left-margin(deadline), leastTime)
	begin = left / 3
	return begin, left - begin
}
