// Package dirlock keeps two runs of the program from working in one package directory at once: the
// second waits for the first.
//
// It locks the directory itself, by whatever path it is reached, so no lock file is left behind or
// gets into version control. The kernel releases the lock when its holder ends, for any reason. The
// lock is advisory and works among runs of this program only; on a file system that cannot lock
// directories (NFS) there is no lock.
package dirlock

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of the pause between two attempts.
const (
	firstPause = 5 * time.Millisecond
	longPause  = 250 * time.Millisecond
)

// Acquire locks a directory. While another process holds the lock, Acquire waits until ctx ends,
// and calls waiting once, unless it is nil. release gives the lock back and may be called more than
// once; it is nil if and only if there is an error: the directory cannot be opened, or ctx ended.
func Acquire(ctx context.Context, dir string, waiting func()) (release func(), err error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err,
			unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return func() { f.Close() }, nil // locked, or locking is not supported
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
