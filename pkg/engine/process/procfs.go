package process

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

var (
	le       = binary.LittleEndian
	pageSize = uint64(os.Getpagesize())
)

// dir is an open /proc/PID, or the directory of one thread in it.
type dir struct{ *procfs.Dir }

func openDir(root string, pid int) (dir, error) {
	d, err := procfs.Open(root, pid)
	return dir{d}, err
}

// visit keeps the directory of a process open while it is visited. A call that was left behind may
// outlast the visit, and then has a handle of its own. A nil visit keeps nothing.
type visit struct {
	mu  sync.Mutex
	dir *dir // nil: the visit is over
}

func (v *visit) share() (d dir, ok bool) {
	if v == nil {
		return dir{}, false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.dir == nil {
		return dir{}, false
	}
	return dir{v.dir.Share()}, true
}

func (v *visit) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.dir != nil {
		v.dir.Close()
		v.dir = nil
	}
}

// live returns a directory that shows the process's memory: its own, or that of a thread if the
// main thread has ended.
func (d dir) live(main State) (dir, error) {
	if main != Zombie {
		return dir{d.Share()}, nil
	}
	list, err := d.threads()
	if err != nil {
		return dir{}, err
	}
	for _, t := range list {
		if t.State == Zombie || t.State == Dead {
			continue
		}
		if th, err := d.Thread(t.TID); !errors.Is(err, procfs.ErrGone) {
			return dir{th}, err
		}
	}
	return dir{}, d.noThreads()
}

// noThreads returns why none of the threads that were listed is there any more: they have ended,
// and others have begun, or none have.
func (d dir) noThreads() error {
	s, err := d.stat()
	switch {
	case err != nil:
		return err
	case s.vanished():
		return lookError(d.PID(), "threads", ErrGone)
	}
	return lookError(d.PID(), "threads", ErrChanged)
}

// buffers are shared by all calls: at any time there are as many as there are calls.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}
