package process

import (
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// class orders processes by what depends on them.
type class int

const (
	ofRoot   class = iota // started by root
	elevated              // runs with other rights than those of the user who started it
	ofUsers
	classes = iota
)

// account is what can keep a process from being patched: a user, or a user namespace that
// root made.
type account struct {
	uid uint32
	ns  uint64
}

// owner is whose a process is, as far as a scan is concerned.
type owner struct {
	class   class
	account account
}

// budget returns the index of the owner's bound for slow visits.
func (o owner) budget() int {
	if o.class == ofRoot {
		return 1
	}
	return 0
}

// owners finds the owners of processes. A user may have 65,536 numbers to give away in namespaces
// (subuid(5)), which are one account: that of the user who made the outermost namespace.
type owners struct {
	root   string
	ns     uint64   // our user namespace
	spaces sync.Map // of the inode number of a namespace: account
}

func newOwners(root string) *owners {
	o := &owners{root: root}
	o.ns, _ = o.namespace("self") // 0: all namespaces are foreign
	return o
}

// guess returns what the owner of a file in the process's directory tells of its owner, which waits
// for nobody. That file belongs to root also if the process must not be dumped, as after it was
// given rights (proc_pid(5)), and a user of a user namespace may be one of many that are one
// account.
func (o *owners) guess(pid int) (who owner, unsorted bool) {
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(o.root, strconv.Itoa(pid), "stat"), &st); err != nil {
		return owner{class: ofUsers}, false // gone
	}
	if st.Uid == 0 {
		return owner{class: ofRoot}, true
	}
	return owner{ofUsers, account{uid: st.Uid}}, true
}

// silentOwner returns the owner of a process that does not answer, by its status, which does not
// wait. Those of all users are one account: whose they are in the end, the namespace would have to
// tell.
func silentOwner(v *visit) owner {
	d, ok := v.share()
	if !ok {
		return owner{class: ofUsers}
	}
	defer d.Close()
	if s, err := d.Status(0); err == nil && idsOf(s.UID).Real == 0 {
		return owner{class: ofRoot}
	}
	return owner{ofUsers, account{ns: 1}} // no namespace has that number
}

// of returns the owner of the process that a status is of; nil: it could not be read.
func (o *owners) of(pid int, s *procfs.Status) owner {
	if s == nil {
		return owner{class: ofUsers}
	}
	uid := idsOf(s.UID)
	if uid.Real == 0 {
		return owner{class: ofRoot}
	}
	account, foreign := o.account(pid, uid.Real)
	if !foreign && (uid.mixed() || idsOf(s.GID).mixed() || s.Permitted != 0) {
		return owner{elevated, account}
	}
	return owner{ofUsers, account}
}

// account returns the account of a process that a user started, and whether it is in another user
// namespace than we are.
func (o *owners) account(pid int, uid uint32) (who account, foreign bool) {
	ns, err := o.namespace(strconv.Itoa(pid))
	if err != nil || ns == o.ns {
		return account{uid: uid}, false
	}
	if who, ok := o.spaces.Load(ns); ok {
		return who.(account), true
	}
	who = o.maker(pid, account{ns: ns})
	o.spaces.Store(ns, who)
	return who, true
}

func (o *owners) namespace(process string) (uint64, error) {
	var st unix.Stat_t
	err := unix.Stat(filepath.Join(o.root, process, "ns/user"), &st)
	return st.Ino, err
}

// maxNested is how deep user namespaces can be nested.
const maxNested = 33

// maker returns the user who made the outermost user namespace around a process, below our own;
// none if it cannot be known.
func (o *owners) maker(pid int, none account) account {
	fd, err := unix.Open(filepath.Join(o.root, strconv.Itoa(pid), "ns/user"),
		unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return none
	}
	defer func() { _ = unix.Close(fd) }()
	for range maxNested {
		parent, err := unix.IoctlRetInt(fd, unix.NS_GET_PARENT)
		if err != nil {
			return none // of a namespace that is not below ours
		}
		var st unix.Stat_t
		if err := unix.Fstat(parent, &st); err == nil && st.Ino == o.ns {
			_ = unix.Close(parent)
			uid, err := unix.IoctlGetUint32(fd, unix.NS_GET_OWNER_UID)
			if err != nil || uid == 0 {
				_ = unix.Fstat(fd, &st)
				return account{ns: st.Ino}
			}
			return account{uid: uid}
		}
		_ = unix.Close(fd)
		fd = parent
	}
	return none
}

// mixed reports whether the ids are not anyway.
func (i IDs) mixed() bool { return i != IDs{i.Real, i.Real, i.Real, i.Real} }
