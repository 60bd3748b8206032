package hook

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strconv"

	"github.com/lpbuild/lpbuild/internal/atomicfile"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// unreachedFile lists the processes, one PID per line, that the last run did not begin in its time.
// The next run, including the timer's, begins with them, so that successive runs reach all. The
// file affects nothing but the order.
const unreachedFile = "run/lpbuild-hook.unreached"

// maxUnreached bounds how many are recorded.
const maxUnreached = 1 << 16

// unreached returns the processes that the last run did not begin.
func (r *Request) unreached() []int {
	text, err := readOwn(r.hostPath(unreachedFile), 8*maxUnreached)
	if err != nil {
		return nil
	}
	var pids []int
	for line := range bytes.Lines(text) {
		if pid, err := strconv.Atoi(string(bytes.TrimSpace(line))); err == nil && pid > 0 &&
			len(pids) < maxUnreached {
			pids = append(pids, pid)
		}
	}
	return pids
}

// noteUnreached records the processes that a run did not begin, according to its error.
func (r *Request) noteUnreached(err error) error {
	name := r.hostPath(unreachedFile)
	e, ok := errors.AsType[*process.UnbegunError](err)
	if !ok {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	var text []byte
	for _, pid := range slices.Clip(e.PIDs[:min(len(e.PIDs), maxUnreached)]) {
		text = append(strconv.AppendInt(text, int64(pid), 10), '\n')
	}
	return atomicfile.Write(name, text, 0o600)
}
