// Package dirlock keeps two runs of the program from working in one package folder at once: the second waits for the first.
//
// What is locked is the folder itself, by whatever path it is reached, so that no lock file is left behind, and none gets into
// version control. The kernel gives the lock back when its holder ends, however it ends. It is a courtesy among runs of this
// program, not a protection from others; a file system that cannot lock folders (NFS) goes without.
package dirlock

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Pauses between two attempts.
const (
	firstPause = 5 * time.Millisecond
	longPause  = 250 * time.Millisecond
)

// Acquire locks a folder. While somebody else has it, it waits until ctx ends, and calls waiting once, which may be nil. The
// lock is given back by release, which may be called more than once; it is nil exactly if there is an error: that of a
// folder that cannot be opened, or the cause of ctx.
func Acquire(ctx context.Context, dir string, waiting func()) (release func(), err error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return func() { f.Close() }, nil // locked, or it cannot be
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}
