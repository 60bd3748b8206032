package hook

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine"
)

// Action is what a scriptlet requests.
type Action string

// The actions, each a word of the command line.
const (
	Install Action = "install" // %post: apply the live patches of the package
	Remove  Action = "remove"  // %preun: revert them, if the administrator wants that
	// %post: use a snapshot's libraries for new processes of the running system
	MoveLibs   Action = "movelibs"
	RemoveLibs Action = "removelibs" // %postun: undo that
	// used by the timer: apply what is installed to processes that lack it
	Reconcile Action = "reconcile"
)

// DefaultDeadline is the time limit of a scriptlet.
const DefaultDeadline = 30 * time.Second

// Request describes what to do, and where. Only Action and, except for Reconcile, Package and
// Version are required.
type Request struct {
	Action           Action
	Package, Version string
	Library          string // base name of the patched library
	// Count is the number of versions of the package after the transaction: RPM's first argument of
	// a scriptlet.
	Count int
	// Deadline limits the time for everything; default DefaultDeadline.
	Deadline time.Duration
	// Transactional means that this is a transactional update: TRANSACTIONAL_UPDATE.
	Transactional bool
	// Engines are asked in this order; default: libpulp, native.
	Engines []engine.Engine
	// MaxStop is how long a process may be stopped; longer stops are reported. 0 means
	// engine.DefaultMaxStop, and a negative value means no limit. Engines have a limit of their
	// own, which should be the same.
	MaxStop time.Duration
	// DryRun reports what would be done, and does nothing.
	DryRun bool

	// Root replaces /, for tests; default "/". Proc is the mount point of proc; default Root/proc.
	// Host replaces the root directory of the running system; default Root, and in a transactional
	// update that of the machine's first process.
	Root, Proc, Host string
	// Selector selects processes; default: all.
	Selector engine.Selector

	begun  time.Time
	host   string // Host, or its default
	hidden string // the part of it that processes do not see
}

// normal returns a request with its defaults, or an error if it is invalid.
func (r Request) normal() (Request, error) {
	switch r.Action {
	case Install, Remove, MoveLibs, RemoveLibs:
		if err := checkName("package", r.Package); err != nil {
			return r, err
		}
		if err := checkName("version", r.Version); err != nil {
			return r, err
		}
		if r.Library != "" || r.Action == MoveLibs || r.Action == RemoveLibs {
			if err := checkName("library", r.Library); err != nil {
				return r, err
			}
		}
	case Reconcile:
	default:
		return r, fmt.Errorf("action %.60q: want install, remove, movelibs, removelibs or "+
			"reconcile", r.Action)
	}
	if r.Deadline <= 0 {
		r.Deadline = DefaultDeadline
	}
	if r.Root == "" {
		r.Root = "/"
	}
	if r.Proc == "" {
		r.Proc = filepath.Join(r.Root, "proc")
	}
	if r.MaxStop == 0 {
		r.MaxStop = engine.DefaultMaxStop
	}
	if len(r.Engines) == 0 {
		r.Engines = []engine.Engine{&engine.Libpulp{MaxStop: max(r.MaxStop, 0)},
			&engine.Native{MaxStop: max(r.MaxStop, 0)}}
	}
	return r, nil
}

// path returns the path of a system file.
func (r *Request) path(elements ...string) string {
	return filepath.Join(append([]string{r.Root}, elements...)...)
}
