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

// unreachedFile lists the processes, a PID a line, that the last run did not begin before its time was over. The next one, be it
// the timer's, begins with them, so that successive runs reach all. Only the order depends on it.
const unreachedFile = "run/lpbuild-hook.unreached"

// maxUnreached bounds how many are noted.
const maxUnreached = 1 << 16

// unreached returns the processes that the last run did not begin.
func (r *Request) unreached() []int {
	text, err := readOwn(r.hostPath(unreachedFile), 8*maxUnreached)
	if err != nil {
		return nil
	}
	var pids []int
	for line := range bytes.Lines(text) {
		if pid, err := strconv.Atoi(string(bytes.TrimSpace(line))); err == nil && pid > 0 && len(pids) < maxUnreached {
			pids = append(pids, pid)
		}
	}
	return pids
}

// noteUnreached keeps what a run did not begin, by the error that it returned.
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
