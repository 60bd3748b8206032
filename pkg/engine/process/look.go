package process

import (
	"context"
	"errors"
	"path"
	"strconv"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// Options are the choices of Look and Scan. The zero value works.
type Options struct {
	Root string // where proc is mounted; default "/proc"
}

func (o Options) root() string {
	if o.Root == "" {
		return procfs.Root
	}
	return o.Root
}

// CheckProc returns nil if the proc file system shows the processes that this process can name to
// the kernel. Otherwise the error is a [*LookError]: [ErrForeignProc], or [ErrNoProc]. Look and
// Scan ask that first.
func (o Options) CheckProc() error { return lookError(0, o.root(), procfs.CheckOwn(o.root())) }

// Process is what was seen of a process at one moment. Its methods look again, and return [ErrGone]
// or [ErrChanged] if it is not the process and the program any more that this value describes. It
// holds nothing open, except that one which a scan visits keeps a directory of proc open until the
// visit returns.
type Process struct {
	PID       int
	ParentPID int
	StartTime uint64 // clock ticks since boot; with PID the identity of the process
	// of the main thread, at most 15 bytes, for kernel threads 63; any bytes but NUL
	Name    string
	State   State // of the main thread
	Threads int   // how many, with a main thread that ended before the others
	Kernel  bool  // a kernel thread

	UID, GID   IDs
	TracerPID  int // 0: none
	Seccomp    Seccomp
	NoNewPrivs bool
	// ShadowStack reports whether the main thread has a shadow stack, as far as the kernel tells
	// (since Linux 6.6).
	ShadowStack bool
	InnerPID    int // the pid in its own pid namespace; 0 if the kernel does not tell
	Container   Container

	// Denied says that this user may not look into the process: the fields below are zero, and all
	// methods that need its memory return [ErrPermission]. Kernel threads and zombies have zero
	// fields too, and are not Denied.
	Denied     bool
	Exe        string // path of the program, as it is or was in the process's mount namespace
	ExeDeleted bool   // its file was deleted or replaced
	// StartedBy is the path of the dynamic loader in a process that was started as "ld.so
	// ./program", else "". The kernel takes the loader for the program, and has its name as Name;
	// Exe is the program.
	StartedBy string
	Root      string // "/" unless chrooted; in the process's mount namespace
	Bits32    bool   // a 32-bit program
	// AT_SECURE of a program that another user than root has started: it has rights which that user
	// does not have
	Secure  bool
	MountNS uint64 // inode numbers of its namespaces; equal numbers, same namespace
	PIDNS   uint64
	UserNS  uint64

	opts     Options
	program  program
	auxv     *auxv    // nil: not known
	freezers []string // the files that say whether its control groups are frozen
	visit    *visit
}

// looks is how often a process that calls exec all the time is looked at before it is ErrChanged.
const looks = 4

// Look looks at one process. The error is a [*LookError]: that of [Options.CheckProc], [ErrGone],
// [ErrChanged] if it called exec several times meanwhile, or [ErrPermission] if proc is mounted
// such that it hides even the public facts. A process into which this user may not look is no
// error: see Process.Denied.
func Look(ctx context.Context, pid int, o Options) (*Process, error) {
	p, err := await(ctx, func() (*Process, error) {
		if err := o.CheckProc(); err != nil {
			return nil, err
		}
		d, err := openDir(o.root(), pid)
		if err != nil {
			return nil, err
		}
		defer d.Close()
		return lookIn(ctx, d, o, firstLook{})
	})
	return p, lookError(pid, "process", err)
}

// lookIn looks at the process of a directory. What was seen of it before is used once.
func lookIn(ctx context.Context, d dir, o Options, before firstLook) (*Process, error) {
	for range looks {
		p, err := lookOnce(ctx, d, o, before)
		if !errors.Is(err, ErrChanged) && !errors.Is(err, procfs.ErrLeader) {
			return p, err
		}
		before = firstLook{}
	}
	return nil, lookError(d.PID(), "program", ErrChanged)
}

// firstLook is what a look begins with, in this order; nil: not read.
type firstLook struct {
	stat   *stat
	status *procfs.Status
}

func (d dir) firstLook() (f firstLook, err error) {
	if f.stat, err = d.stat(); err == nil {
		f.status, err = d.Status(0)
	}
	return f, err
}

// lookOnce fills a Process, and compares at the end with the beginning: the public facts and the
// memory's are those of one program.
func lookOnce(ctx context.Context, d dir, o Options, first firstLook) (_ *Process, err error) {
	if first.status == nil {
		if first, err = d.firstLook(); err != nil {
			return nil, err
		}
	}
	before, s := first.stat, first.status
	p := &Process{PID: d.PID(), ParentPID: before.Parent, StartTime: before.Start,
		Name: before.Name, State: before.state(), Threads: before.Threads,
		Kernel: before.Flags&procfs.FlagKernelThread != 0, opts: o, program: before.program()}
	p.UID, p.GID, p.TracerPID, p.InnerPID = idsOf(s.UID), idsOf(s.GID), s.Tracer, s.InnerPID
	p.Seccomp, p.NoNewPrivs, p.ShadowStack = Seccomp(s.Seccomp), s.NoNewPrivs, s.ShadowStack
	if p.Container, p.freezers, err = d.groups(); err != nil {
		return nil, err
	}
	if !p.Kernel && !before.vanished() {
		err = p.lookInside(ctx, d)
	}
	after, statErr := d.stat()
	switch {
	case statErr != nil:
		return nil, statErr
	case after.program() != before.program() && !after.vanished():
		return nil, lookError(d.PID(), "program", ErrChanged)
	case after.vanished() && !before.vanished():
		// it became a zombie: look again, at that
		return nil, lookError(d.PID(), "program", ErrChanged)
	case after.leaderGone() && !before.leaderGone():
		// its files may have shown half of it
		return nil, lookError(d.PID(), "its first thread", ErrChanged)
	case errors.Is(err, ErrPermission):
		p.Denied = true
		p.clearInside()
	case err != nil:
		return nil, err
	}
	return p, nil
}

// lookInside fills the fields that need the right to trace the process.
func (p *Process) lookInside(ctx context.Context, d dir) error {
	live, err := d.live(p.State)
	if err != nil {
		return err
	}
	defer live.Close()
	exe, err := live.Link("exe")
	if err != nil {
		return err
	}
	p.Exe, p.ExeDeleted = cutDeleted(exe)
	if p.Root, err = live.Link("root"); err != nil {
		return err
	}
	a, err := live.auxv()
	if err != nil {
		return err
	}
	p.Bits32, p.Secure, p.auxv = a.bits32, a.secure && a.uid != 0, a
	program, err := p.startedProgram(ctx, live, a)
	if err != nil {
		return err
	}
	if program != nil {
		p.StartedBy, p.Exe, p.ExeDeleted = p.Exe, program.Path, program.Deleted
	}
	if p.MountNS, err = live.namespace("ns/mnt"); err != nil {
		return err
	}
	if p.PIDNS, err = live.namespace("ns/pid"); err != nil {
		return err
	}
	p.UserNS, err = live.namespace("ns/user")
	return err
}

func (p *Process) clearInside() {
	p.Exe, p.ExeDeleted, p.StartedBy, p.Root, p.Bits32, p.Secure, p.MountNS, p.PIDNS, p.UserNS = "",
		false, "", "", false, false, 0, 0, 0
	p.auxv = nil
}

// Alive reports whether the process has threads that run. One that is not alive may still be in the
// table, as a zombie.
func (p *Process) Alive() bool {
	s := stat{State: byte(p.State), Threads: p.Threads}
	return !s.vanished()
}

// Elevated reports whether the process runs with other rights than those of the user who started
// it: a setuid program, one with capabilities of its file, or one whose user and group numbers
// differ. Its environment, its limits and its signals are then another user's. Nothing is elevated
// that root has started.
func (p *Process) Elevated() bool {
	return p.Secure || p.UID.Real != 0 && (p.UID.mixed() || p.GID.mixed())
}

// Chrooted reports whether the process has another root directory than its mount namespace.
func (p *Process) Chrooted() bool { return p.Root != "" && p.Root != "/" }

// ExeName returns the base name of the program's path, "" if it is not known.
func (p *Process) ExeName() string {
	if p.Exe == "" {
		return ""
	}
	return path.Base(p.Exe)
}

// Verify returns nil if the process still is the one, and runs the program, that p describes; else
// a [*LookError] with [ErrGone] or [ErrChanged]. A process that became a zombie is gone.
func (p *Process) Verify(ctx context.Context) error {
	_, err := await(ctx, func() (struct{}, error) {
		d, err := p.open()
		if err == nil {
			d.Close()
		}
		return struct{}{}, err
	})
	return lookError(p.PID, "process", err)
}

// open opens the directory of the process, if it is the same process and runs the same program.
func (p *Process) open() (dir, error) {
	d, err := p.openUnverified()
	if err != nil {
		return dir{}, err
	}
	if err := p.verify(d); err != nil {
		d.Close()
		return dir{}, err
	}
	return d, nil
}

// openUnverified opens the directory of the process that has the PID now. The caller verifies what
// was opened or read there.
func (p *Process) openUnverified() (dir, error) {
	if d, ok := p.visit.share(); ok {
		return d, nil
	}
	return openDir(p.opts.root(), p.PID)
}

func (p *Process) verify(d dir) error {
	s, err := d.stat()
	switch {
	case err != nil:
		return err
	case s.Start != p.StartTime, s.vanished() && p.Alive(), s.dying():
		return lookError(p.PID, "process", ErrGone)
	case s.replaced(p.program):
		return lookError(p.PID, "program", ErrChanged)
	case s.program() == program{} && p.program != program{} && !s.leaderGone():
		if !s.exiting() { // exec, in the moment before the new program has its place
			return lookError(p.PID, "program", ErrChanged)
		}
		return lookError(p.PID, "process", ErrGone) // its memory goes before itself
	}
	return nil
}

// cutDeleted takes the kernel's mark off a path. A file whose name really ends so cannot be told
// apart.
func cutDeleted(path string) (string, bool) { return strings.CutSuffix(path, " (deleted)") }

// namespace reads the inode number out of a link such as "mnt:[4026531841]".
func (d dir) namespace(name string) (uint64, error) {
	link, err := d.Link(name)
	if err != nil {
		if errors.Is(err, procfs.ErrAbsent) { // a kernel without this kind
			return 0, nil
		}
		return 0, err
	}
	_, number, _ := strings.Cut(link, ":[")
	n, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
	if err != nil {
		return 0, lookError(d.PID(), name, malformed("not a namespace"))
	}
	return n, nil
}
