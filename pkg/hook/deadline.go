package hook

import "time"

// The time of a scriptlet is divided from the outside to the inside, so that no part waits for the next one longer than it has
// itself:
//
//	deadline of the guard = start and end of the worker (grace) + deadline of the worker
//	deadline of the worker ≥ lock (1/lockShare) + files + begin + process + margin
const (
	// grace is what a worker does not get of its guard's deadline, at most: its program is read, and what it says passed on.
	grace = 3 * time.Second
	// graceShare is the part of a short deadline that it is: one of so many.
	graceShare = 10
	// lockShare is the part of a deadline that may pass until other runs have ended.
	lockShare = 4
	// leastTime is what processes get, all together, however little is left: to see them is better than to say nothing.
	leastTime = 60 * time.Millisecond
)

// WorkerDeadline returns what a worker gets of the deadline of its guard.
func WorkerDeadline(deadline time.Duration) time.Duration {
	return deadline - min(grace, deadline/graceShare)
}

// margin is the part of a worker's deadline for what comes after the processes.
func margin(deadline time.Duration) time.Duration { return min(time.Second, deadline/10) }

// shares divides what is left of a worker's deadline: no process is begun after the first time, and none takes longer than the
// second. So one that is begun at the last moment has its time, and the deadline is kept.
func shares(left, deadline time.Duration) (begin, process time.Duration) {
	left = max(left-margin(deadline), leastTime)
	begin = left / 3
	return begin, left - begin
}
