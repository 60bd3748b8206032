package hook

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lockFile is held by the process that applies live patches. Otherwise the timer's run could read
// the old version of a package, and put it back into processes that have just received the new one.
const lockFile = "run/lpbuild-hook.lock"

// lockPause is the time between two attempts.
const lockPause = 20 * time.Millisecond

// errLocked means that another process held the lock all the time.
var errLocked = errors.New("another run is applying live patches")

// lock waits for the lock, up to a time limit. If no file can be made that only root can open,
// there is no lock, and no error. The result releases the lock.
func (r *Request) lock(ctx context.Context, wait time.Duration) (unlock func(), err error) {
	none := func() {}
	f, err := openLock(r.hostPath(lockFile))
	if err != nil {
		// A system without /run works without a lock, and another user's file is not a lock.
		//nolint:nilerr // as above
		return none, nil
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

// openLock opens a lock file that only root can open, since anybody who can open it can hold it
// (flock(2)). One that others can open is replaced: they keep the old one.
func openLock(name string) (*os.File, error) {
	const flags = os.O_RDWR | os.O_CREATE | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	f, err := os.OpenFile(name, flags, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		f.Close()
		if err := os.Remove(name); err != nil {
			return nil, err
		}
		if f, err = os.OpenFile(name, flags|os.O_EXCL, 0o600); err != nil {
			return nil, err
		}
		info, err = f.Stat()
	}
	if err == nil {
		err = ownInfo(name, info, false)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
