package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// Selector says which processes are meant. The zero value means all. It never means this process
// itself, and never threads or kernel threads.
type Selector struct {
	PID  int       // this process only; 0: any
	Name *Wildcard // of the process; nil: any
	User *Wildcard // of its real user's name or number; nil: any

	users *userNames
}

// ParseSelector reads a process and a user as libpulp's options -p and -u have them: a PID or a
// pattern for the name, a user's number or a pattern for the name. Empty ones mean all.
func ParseSelector(process, userName string) (Selector, error) {
	s := Selector{users: &userNames{}}
	if digits, ok := strings.CutPrefix(process, "-"); ok {
		if _, ok := number(digits); ok {
			return Selector{}, fmt.Errorf("%w: %s", ErrNoProcess, process)
		}
	}
	if pid, ok := number(process); ok {
		if pid <= 0 {
			return Selector{}, fmt.Errorf("%w: %s", ErrNoProcess, process)
		}
		s.PID = pid
	} else if process != "" {
		w := NewWildcard(process)
		s.Name = &w
	}
	if userName == "" {
		return s, nil
	}
	w := NewWildcard(userName)
	s.User = &w
	if _, ok := number(userName); !ok && !bytes.ContainsAny([]byte(userName), `*?[\`) {
		if _, err := user.Lookup(userName); err != nil {
			return Selector{}, fmt.Errorf("%w: %q", ErrNoUser, userName)
		}
	}
	return s, nil
}

// number reads a string of digits. What does not fit is a number that no process has.
func number(s string) (int, bool) {
	if s == "" || digits(s) != len(s) {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return -1, true
	}
	return int(n), true
}

// pids returns the processes to look at, nil for all.
func (s *Selector) pids() []int {
	if s.PID == 0 {
		return nil
	}
	return []int{s.PID}
}

// never returns why nothing is ever done to a process; nil if something may be.
func never(p *process.Process) error {
	switch {
	case p.Kernel:
		return &engineError{errors.New("a kernel thread, which runs no program"), ErrNoEngine}
	case p.PID == os.Getpid():
		return &engineError{errors.New("lpbuild itself, which cannot stop itself"), ErrNoEngine}
	case !p.Alive():
		return process.ErrGone
	}
	return nil
}

// meant returns the function of [process.ScanOptions] that leaves out processes whose name or user
// is known to be another, so that a run does not wait for those; nil if all are meant.
func (s *Selector) meant() func(process.Glance) bool {
	if s.Name == nil && s.User == nil {
		return nil
	}
	return func(g process.Glance) bool {
		if s.Name != nil {
			if name, err := g.Name(); err == nil && !s.Name.Match(path.Base(name)) &&
				!s.mayBe(name) {
				return false
			}
		}
		if s.User != nil {
			if ids, err := g.User(); err == nil && !s.wantsUser(ids.Real) {
				return false
			}
		}
		return true
	}
}

// Matches reports whether a process of this machine is selected by what everybody may see of it. A
// process that cannot be looked at counts unless its name or its user is known to be another.
func (s *Selector) Matches(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	found := errors.New("found")
	err := process.Scan(ctx, process.ScanOptions{PIDs: s.pids(), Meant: s.meant()},
		func(visit context.Context, p *process.Process, err error) {
			look, unseen := errors.AsType[*process.LookError](err)
			switch {
			case err == nil && s.wants(p):
				cancel(found)
			case unseen && !errors.Is(err, process.ErrGone):
				if _, may := s.mayWant(visit, "", look.PID); may {
					cancel(found)
				}
			}
		})
	if errors.Is(context.Cause(ctx), found) {
		return true, nil
	}
	return false, err
}

// wants reports whether a process is meant, by what everybody may see of it.
func (s *Selector) wants(p *process.Process) bool {
	switch {
	case never(p) != nil:
		return false
	case s.Name != nil && !s.Name.Match(ShortName(p)) && !s.Name.Match(FullName(p)) &&
		(!p.Denied || !s.mayBe(p.Name)):
		return false
	}
	return s.wantsUser(p.UID.Real)
}

func (s *Selector) wantsUser(real uint32) bool {
	if s.User == nil {
		return true
	}
	uid := strconv.FormatUint(uint64(real), 10)
	return s.User.String() == uid || s.User.Match(s.users.name(uid))
}

// mayWant reports whether a process that could not be looked at may be meant. It may unless its
// name or its user can be read and is known to be another one. name is what the kernel has for its
// name, "" if that cannot be read.
func (s *Selector) mayWant(ctx context.Context, root string, pid int) (name string, may bool) {
	// its own time may be over
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), glanceTime)
	defer cancel()
	o := process.Options{Root: root}
	name, err := process.NameOf(ctx, pid, o)
	if errors.Is(err, process.ErrGone) {
		return "", false
	}
	name = path.Base(name)
	if err != nil {
		name = ""
	} else if s.Name != nil && !s.Name.Match(name) && !s.mayBe(name) {
		return name, false
	}
	if s.User != nil {
		if ids, err := process.UserOf(ctx, pid, o); err == nil && !s.wantsUser(ids.Real) {
			return name, false
		}
	}
	return name, true
}

// glanceTime is how long to wait for a name.
const glanceTime = time.Second

// mayBe reports whether a process may have a name that is wanted though the kernel's name for it is
// not: that is cut off, or may be that of the dynamic loader by which the program was started
// (ld.so, ld-linux-x86-64).
func (s *Selector) mayBe(name string) bool {
	return len(name) >= nameLength && s.Name.MatchBeginning(name) || isLoaderName(name)
}

// isLoaderName reports whether a program's name is one that dynamic loaders go by: ld.so,
// ld-linux-x86-64.so.2, ld64.so.2, ld-2.31.so, ld-musl-x86_64.so.1.
func isLoaderName(name string) bool {
	return strings.HasPrefix(name, "ld.so") || strings.HasPrefix(name, "ld-") ||
		strings.HasPrefix(name, "ld64.so")
}

// ShortName returns the name that the kernel has for a process, without a path before it: its
// first 15 bytes.
func ShortName(p *process.Process) string { return path.Base(p.Name) }

// nameLength is how many bytes of a name the kernel keeps.
const nameLength = 15

// FullName returns the whole name if it is that of the program and the kernel's is the beginning of
// it. It is the program's also if the kernel's is that of the dynamic loader by which it was
// started, or of a link to it, by a name that loaders go by: the kernel's name alone must tell
// whether a process may have another one.
func FullName(p *process.Process) string {
	exe := p.ExeName()
	if kernelNames(p.Name, exe) && len(exe) > nameLength || p.StartedBy != "" &&
		isLoaderName(p.Name) {
		return exe
	}
	return ShortName(p)
}

// kernelNames reports whether the kernel's name of a process is that of a program's file.
func kernelNames(name, file string) bool { return name == file[:min(len(file), nameLength)] }

// userNames remembers the names of users, since looking one up reads a file.
type userNames struct{ m sync.Map }

// name returns the name of a user, "" if there is none.
func (u *userNames) name(uid string) string {
	if u != nil {
		if name, ok := u.m.Load(uid); ok {
			return name.(string)
		}
	}
	name := ""
	if known, err := user.LookupId(uid); err == nil {
		name = known.Username
	}
	if u != nil {
		u.m.Store(uid, name)
	}
	return name
}

// checkProcess returns why a number that was named is not that of a process. The directory of a
// thread looks like one.
func checkProcess(root string, pid int) error {
	if root == "" {
		root = procfs.Root
	}
	d, err := procfs.Open(root, pid)
	var s *procfs.Status
	if err == nil {
		defer d.Close()
		s, err = d.Status(0)
	}
	switch {
	case errors.Is(err, procfs.ErrPermission):
		err = ErrPermission
	case errors.Is(err, procfs.ErrGone):
		err = ErrNoProcess
	case err == nil && s.Group != pid:
		return fmt.Errorf("%d: %w; its process is %d", pid, ErrNotProcess, s.Group)
	}
	if err != nil {
		err = fmt.Errorf("process %d: %w", pid, err)
	}
	return err
}
