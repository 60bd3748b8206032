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
	f, err := openLock(r.hostPath(lockFile))
	if err != nil {
		return none, nil //nolint:nilerr // a system without /run works without, and somebody else's file is no lock
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

// openLock opens a lock file that only root can open, since whoever can open it can hold it (flock(2)). One that others can open is
// replaced: they keep the old one.
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
