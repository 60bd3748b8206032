package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// self is this program, even if the transaction has replaced its file.
const self = "/proc/self/exe"

// maxSaid bounds the output that is passed on, in bytes.
const maxSaid = 1 << 20

// errLate means that a worker did not end in time. It continues on its own.
var errLate = errors.New("timed out; work already begun continues in the background")

// ErrNoWorker means that no worker could be started: without /proc a program cannot find its own
// file.
var ErrNoWorker = errors.New("no worker process")

// Guard runs this program again as a worker with the given arguments, and passes on its output. It
// returns when the worker ends or the deadline passes, whichever comes first; a worker that keeps
// [WorkerDeadline] ends earlier. So neither a worker that is stuck in the kernel, waiting for a
// file system that does not answer, nor one that crashes affects the caller.
//
// The worker inherits none of the caller's files, so programs that wait for the end of the caller's
// output, as zypper does, are not delayed either. When ctx ends, the worker is left to end by
// itself; signals from the terminal reach it anyway.
func Guard(ctx context.Context, deadline time.Duration, out io.Writer, args ...string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(self, args...) //nolint:noctx // it may have to outlive its guard
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoWorker, err)
	}
	ended := make(chan error, 1)
	var said bytes.Buffer
	go func() {
		_, _ = io.Copy(&said, io.LimitReader(r, maxSaid))
		_, _ = io.Copy(io.Discard, r) // it ends with the worker's end of the pipe
		ended <- cmd.Wait()
	}()
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	select {
	case err := <-ended:
		_, werr := out.Write(said.Bytes())
		return errors.Join(err, werr)
	case <-timer.C:
		return errLate
	case <-ctx.Done():
	}
	select { // it got the signal, too, and finishes the processes in progress
	case err := <-ended:
		_, werr := out.Write(said.Bytes())
		return errors.Join(err, werr)
	case <-timer.C:
		return errLate
	}
}
