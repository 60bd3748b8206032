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

// maxSaid bounds what is passed on, in bytes.
const maxSaid = 1 << 20

// ErrLate says that a worker did not end in time; it goes on alone.
var ErrLate = errors.New("its time was over; what was begun goes on in the background")

// ErrNoWorker says that none could be started: without /proc a program does not know itself.
var ErrNoWorker = errors.New("no worker")

// Guard runs this program again, as a worker with the given arguments, and passes on what it prints. It returns when the worker
// has ended or the deadline is over, whichever comes first; a worker that keeps [WorkerDeadline] ends before: even a worker that the kernel does not let go, because it waits for a
// file system that does not answer, holds nobody up, and if it breaks down its caller does not.
//
// The worker has none of the caller's files: who waits for the end of the caller's output, as zypper does, is not held up either.
// When ctx ends the worker is left to end by itself; signals of the terminal reach it anyway.
func Guard(ctx context.Context, deadline time.Duration, out io.Writer, args ...string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(self, args...) //nolint:noctx // it outlives its guard if it must
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
		return ErrLate
	case <-ctx.Done():
	}
	select { // it was told, too: it finishes what it has in hand
	case err := <-ended:
		_, werr := out.Write(said.Bytes())
		return errors.Join(err, werr)
	case <-timer.C:
		return ErrLate
	}
}
