package hook

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine"
)

// Action is what a scriptlet asks for.
type Action string

// The actions, each a word of the command line.
const (
	Install    Action = "install"    // %post: apply the live patches of the package
	Remove     Action = "remove"     // %preun: take them out, if the administrator wants that
	MoveLibs   Action = "movelibs"   // %post: a snapshot's libraries for new processes of the running system
	RemoveLibs Action = "removelibs" // %postun: and back
	Reconcile  Action = "reconcile"  // of no scriptlet: apply what is installed to processes that do not have it
)

// DefaultDeadline is the time that a scriptlet takes at most.
const DefaultDeadline = 30 * time.Second

// Request is what is to be done, and where. Only Action, and but for Reconcile Package and Version, have to be given.
type Request struct {
	Action           Action
	Package, Version string
	Library          string // base name of what is patched
	// Count is how many versions of the package are there when the transaction is over: RPM's first argument of a scriptlet.
	Count int
	// Deadline is the time for all of it; default DefaultDeadline.
	Deadline time.Duration
	// Transactional says that this runs in a transactional update: TRANSACTIONAL_UPDATE.
	Transactional bool
	// Backends are the engines, in the order in which they are asked; default: libpulp, native.
	Backends []engine.Backend
	// MaxStop is how long a process may stand still; longer stops are reported. 0 means engine.DefaultMaxStop, less means no limit. Backends have a limit
	// of their own, which is to be the same.
	MaxStop time.Duration
	// DryRun says what would be done and does nothing.
	DryRun bool

	// Root stands for /, for tests; default "/". Proc is where proc is mounted; default Root/proc. Host stands for the root
	// folder of the running system; default Root, and in a transactional update that of the machine's first process.
	Root, Proc, Host string
	// Selector says which processes are meant; default: all.
	Selector engine.Selector

	begun  time.Time
	host   string // Host, or its default
	hidden string // what processes do not see of it
}

// normal returns a request with its defaults, or what is wrong with it.
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
		return r, fmt.Errorf("action %.60q: must be install, remove, movelibs, removelibs or reconcile", r.Action)
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
	if len(r.Backends) == 0 {
		r.Backends = []engine.Backend{&engine.Libpulp{MaxStop: max(r.MaxStop, 0)}, &engine.Native{MaxStop: max(r.MaxStop, 0)}}
	}
	return r, nil
}

// path returns where a file of the system is.
func (r *Request) path(elements ...string) string {
	return filepath.Join(append([]string{r.Root}, elements...)...)
}
