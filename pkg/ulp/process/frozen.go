package process

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/ulp/internal/procfs"
)

// Frozen says whether a control group's freezer keeps the process from running, as that of a paused container does: it can be
// stopped then, but makes no system calls until it is thawed. What cannot be seen, because the file system of the control groups is
// not there or a part of the tree is hidden, is taken for running.
func (p *Process) Frozen(ctx context.Context) (bool, error) {
	frozen, err := await(ctx, func() (bool, error) {
		d, err := p.open()
		if err != nil {
			return false, err
		}
		defer d.Close()
		frozen := false
		err = d.Lines("cgroup", func(line []byte) error {
			if frozen = freezers().freeze(line); frozen {
				return procfs.ErrStop
			}
			return nil
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

// freezers looks for them once.
var freezers = sync.OnceValue(func() freezing {
	b, _ := os.ReadFile("/proc/self/mountinfo")
	return parseMounts(string(b))
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

// freeze says whether the group of a line of /proc/PID/cgroup, of the form "HIERARCHY:CONTROLLERS:PATH", is frozen.
func (g freezing) freeze(line []byte) bool {
	parts := bytes.SplitN(line, []byte{':'}, 3)
	if len(parts) != 3 || len(parts[2]) > maxPath || bytes.HasPrefix(parts[2], []byte("/..")) { // outside of what we see
		return false
	}
	group := string(parts[2])
	switch controllers := "," + string(parts[1]) + ","; {
	case controllers == ",," && g.v2 != "":
		return bytes.Contains(readState(path.Join(g.v2, group, "cgroup.events")), []byte("frozen 1\n"))
	case strings.Contains(controllers, ",freezer,") && g.v1 != "":
		return bytes.HasPrefix(readState(path.Join(g.v1, group, "freezer.state")), []byte("FR")) // FROZEN, FREEZING
	}
	return false
}

// readState reads a file of a control group; nothing if there is none, as in the root.
func readState(path string) []byte {
	var b [256]byte
	fd, err := procfs.OpenAt(unix.AT_FDCWD, path, unix.O_RDONLY)
	if err != nil {
		return nil
	}
	defer procfs.File(fd).Close()
	n, _ := procfs.File(fd).Read(b[:])
	return b[:n]
}
