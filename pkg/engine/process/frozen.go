package process

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// Frozen reports whether a control group's freezer keeps the process from running, as that of a
// paused container does: it can be stopped then, but makes no system calls until it is thawed. A
// group that this process has no name for, because the file system of the control groups is not
// mounted or shows another part of the tree, is taken for running: a process in it that does not
// run is noticed under the stop, and left as it is.
func (p *Process) Frozen(ctx context.Context) (bool, error) {
	frozen, err := await(ctx, func() (bool, error) {
		frozen, err := anyFrozen(p.freezers)
		if p.freezers != nil && !frozen {
			return false, err
		}
		return p.frozen() // it may have left the groups that it was in
	})
	return frozen, lookError(p.PID, "cgroup", err)
}

// frozen reads in which groups the process is, and their states.
func (p *Process) frozen() (bool, error) {
	d, err := p.open()
	if err != nil {
		return false, err
	}
	defer d.Close()
	_, states, err := d.groups()
	if err != nil {
		return false, err
	}
	return anyFrozen(states)
}

// anyFrozen reports whether one of the files says that a control group is frozen.
func anyFrozen(states []string) (bool, error) {
	for _, path := range states {
		if text, err := readState(path); err != nil || saysFrozen(text) {
			return err == nil, err
		}
	}
	return false, nil
}

// saysFrozen understands cgroup.events of version 2, and freezer.state of version 1: FROZEN or
// FREEZING.
func saysFrozen(text []byte) bool {
	return bytes.Contains(text, []byte("frozen 1\n")) || bytes.HasPrefix(text, []byte("FR"))
}

// freezing is where the control groups that freeze are mounted: those of version 2, and the freezer
// of version 1; "": nowhere.
type freezing struct{ v2, v1 string }

// freezers looks for them once. The mounts are those of this process, not those of another one.
var freezers = sync.OnceValues(func() (freezing, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	return parseMounts(string(b)), err
})

// parseMounts reads lines of the form "ID PARENT DEVICE ROOT PLACE OPTIONS [MORE ...] - KIND SOURCE
// OPTIONS". Those that show a part of the tree only are passed over.
func parseMounts(text string) (g freezing) {
	for line := range strings.Lines(text) {
		mount, kind, _ := strings.Cut(line, " - ")
		m, k := strings.Fields(mount), strings.Fields(kind)
		switch {
		case len(m) < 6 || len(k) < 3 || m[3] != "/":
		case k[0] == "cgroup2":
			g.v2 = m[4]
		case k[0] == "cgroup" && strings.Contains(","+k[2]+",", ",freezer,"):
			g.v1 = m[4]
		}
	}
	return g
}

// state returns the path of the file that tells whether a control group is frozen. It is "" for the
// root group, which cannot be frozen, and for a group that is not visible from here; see
// [Process.Frozen] for what that means.
func (g freezing) state(controllers, group []byte) string {
	if len(group) < 2 || len(group) > maxPath || bytes.HasPrefix(group, []byte("/..")) {
		return ""
	}
	switch {
	case len(controllers) == 0 && g.v2 != "":
		return path.Join(g.v2, string(group), "cgroup.events")
	case g.v1 != "" && slices.Contains(strings.Split(string(controllers), ","), "freezer"):
		return path.Join(g.v1, string(group), "freezer.state")
	}
	return ""
}

// readState reads a file of a control group; nothing if there is none, as in the root, in a group
// that was removed meanwhile, and in one that is not to be seen.
func readState(path string) ([]byte, error) {
	var b [256]byte
	fd, err := procfs.OpenAt(unix.AT_FDCWD, path, unix.O_RDONLY)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EACCES):
		return nil, nil
	case err != nil:
		return nil, err
	}
	defer procfs.File(fd).Close()
	n, err := procfs.File(fd).Read(b[:])
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ENODEV) { // removed meanwhile
		err = nil
	}
	return b[:n], err
}
