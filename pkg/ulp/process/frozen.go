package process

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/ulp/internal/procfs"
)

// Frozen says whether a control group's freezer keeps the process from running, as that of a paused container does: it can be
// stopped then, but makes no system calls until it is thawed. A group that this process has no name for, because the file system of the
// control groups is not mounted or shows another part of the tree, is taken for running: a process in it that does not run is noticed
// under the stop, and left as it is.
func (p *Process) Frozen(ctx context.Context) (bool, error) {
	frozen, err := await(ctx, func() (bool, error) {
		d, err := p.open()
		if err != nil {
			return false, err
		}
		defer d.Close()
		g, err := freezers()
		if err != nil {
			return false, err
		}
		frozen := false
		err = d.Lines("cgroup", func(line []byte) error {
			var err error
			if frozen, err = g.freeze(line); frozen {
				return procfs.ErrStop
			}
			return err
		})
		if errors.Is(err, procfs.ErrAbsent) { // a kernel without control groups
			err = nil
		}
		return frozen, err
	})
	return frozen, lookError(p.PID, "cgroup", err)
}

// freezing is where the control groups that freeze are mounted: those of version 2, and the freezer of version 1; "": nowhere.
type freezing struct{ v2, v1 string }

// freezers looks for them once. The mounts are those of this process, not those of another one.
var freezers = sync.OnceValues(func() (freezing, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	return parseMounts(string(b)), err
})

// parseMounts reads lines of the form "ID PARENT DEVICE ROOT PLACE OPTIONS [MORE ...] - KIND SOURCE OPTIONS". Those that show a
// part of the tree only are passed over.
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

// freeze reports whether the group of a line of /proc/PID/cgroup, of the form "HIERARCHY:CONTROLLERS:PATH", is frozen.
func (g freezing) freeze(line []byte) (bool, error) {
	parts := bytes.SplitN(line, []byte{':'}, 3)
	switch {
	case len(parts) != 3:
		return false, malformed("a control group needs three parts")
	case len(parts[2]) > maxPath || bytes.HasPrefix(parts[2], []byte("/..")): // outside of what we see
		return false, nil
	}
	group := string(parts[2])
	switch controllers := "," + string(parts[1]) + ","; {
	case controllers == ",," && g.v2 != "":
		text, err := readState(path.Join(g.v2, group, "cgroup.events"))
		return bytes.Contains(text, []byte("frozen 1\n")), err
	case strings.Contains(controllers, ",freezer,") && g.v1 != "":
		text, err := readState(path.Join(g.v1, group, "freezer.state"))
		return bytes.HasPrefix(text, []byte("FR")), err // FROZEN, FREEZING
	}
	return false, nil
}

// readState reads a file of a control group; nothing if there is none, as in the root, in a group that was removed meanwhile, and in
// one that is not to be seen.
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
