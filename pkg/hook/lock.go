package hook

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lockFile is held by whoever applies live patches. The timer's run could otherwise have read the old version of a package,
// and put it back into processes that have just got the new one.
const lockFile = "run/lpbuild-hook.lock"

// lockPause is how long to wait before the next attempt.
const lockPause = 20 * time.Millisecond

// errLocked says that somebody else held the lock all the time.
var errLocked = errors.New("another run applies live patches at the moment")

// lock waits for the lock, no longer than a time. Where no file can be made that only root can open there is no lock, and
// no error. The result gives it back.
func (r *Request) lock(ctx context.Context, wait time.Duration) (unlock func(), err error) {
	none := func() {}
	f, err := os.OpenFile(r.hostPath(lockFile), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return none, nil //nolint:nilerr // a system without /run works without
	}
	if err := own(r.hostPath(lockFile), false); err != nil {
		f.Close()
		return none, nil //nolint:nilerr // somebody else's file is no lock
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			f.Close()
			return none, errLocked
		}
	}
}
