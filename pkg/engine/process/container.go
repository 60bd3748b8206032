package process

import (
	"bytes"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// Container says in which container a process runs, by the name of its control group. That name is
// given by the container's runtime and is no proof: a user to whom a part of the tree was delegated
// may imitate it.
type Container struct {
	// "docker", "podman", "containerd", "cri-o", "kubernetes", "systemd-nspawn", "machine", "lxc";
	// "" if none
	Runtime string
	ID      string // 64 hexadecimal digits, or a name of letters, digits, "_", "." and "-"
}

// String returns "RUNTIME:ID", or "" for no container.
func (c Container) String() string {
	if c.Runtime == "" {
		return ""
	}
	return c.Runtime + ":" + c.ID
}

// containerForms are the names of control groups, one path element each, or two where the first
// alone says nothing. The monitors that runtimes start beside a container (libpod-conmon-…,
// crio-conmon-…, lxc.monitor.…) are not in it. Where the hint is not in the path, the slower form
// need not be tried.
var containerForms = []struct {
	runtime, hint string
	form          func() *regexp.Regexp
}{
	{"docker", "/docker", lazyregexp.New(`/docker[-/]([0-9a-f]{64})(?:\.scope)?(?:/|$)`)},
	{"podman", "/libpod-", lazyregexp.New(`/libpod-([0-9a-f]{64})(?:\.scope)?(?:/|$)`)},
	{"cri-o", "/crio-", lazyregexp.New(`/crio-([0-9a-f]{64})(?:\.scope)?(?:/|$)`)},
	{"containerd", ".scope",
		lazyregexp.New(`/(?:cri-containerd|nerdctl)-([0-9a-f]{64})\.scope(?:/|$)`)},
	{"containerd", "cri-containerd", lazyregexp.New(`:cri-containerd:([0-9a-f]{64})(?:/|$)`)},
	{"kubernetes", "/kubepods",
		lazyregexp.New(`/kubepods(?:/[a-z]+)?/pod[0-9a-fA-F_-]+/([0-9a-f]{64})(?:/|$)`)},
	{"systemd-nspawn", "/systemd-nspawn@",
		lazyregexp.New(`/systemd-nspawn@([\w.-]+)\.service(?:/|$)`)},
	{"machine", "/machine-", lazyregexp.New(`/machine\.slice/machine-([\w.-]+)\.scope(?:/|$)`)},
	{"lxc", "/lxc.payload", lazyregexp.New(`/lxc\.payload[./]([\w.-]+?)(?:/|$)`)},
	{"lxc", "/lxc/", lazyregexp.New(`/lxc/([\w.-]+?)(?:/|$)`)},
}

// containerOf looks for the innermost container in the path of a control group.
func containerOf(group []byte) Container {
	path := unescapeUnit(string(group[:min(len(group), maxPath)]))
	best, at := Container{}, -1
	for _, f := range containerForms {
		for from := 0; strings.Contains(path[from:], f.hint); {
			m := f.form().FindStringSubmatchIndex(path[from:])
			if m == nil {
				break
			}
			if from+m[2] > at {
				best, at = Container{Runtime: f.runtime, ID: path[from+m[2] : from+m[3]]}, from+m[2]
			}
			from += m[3]
		}
	}
	return best
}

// unescapeUnit undoes what systemd does to names of units: "\x2d" for "-". Only that character may
// come out.
func unescapeUnit(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	return strings.ReplaceAll(s, `\x`+strconv.FormatInt('-', 16), "-")
}

// splitGroup reads a line of the form "HIERARCHY:CONTROLLERS:PATH".
func splitGroup(line []byte) (controllers, group []byte, err error) {
	_, rest, _ := bytes.Cut(line, []byte{':'})
	controllers, group, whole := bytes.Cut(rest, []byte{':'})
	if !whole {
		return nil, nil, malformed("a control group needs three parts")
	}
	return controllers, group, nil
}

// groups reads /proc/PID/cgroup: the container that the control groups of a process tell of, and
// the files that say whether they are frozen.
func (d dir) groups() (found Container, states []string, err error) {
	g, err := freezers()
	if err != nil {
		return found, nil, err
	}
	states = []string{}
	err = d.Lines("cgroup", func(line []byte) error {
		controllers, group, err := splitGroup(line)
		if err != nil {
			return err
		}
		if found.Runtime == "" {
			found = containerOf(group)
		}
		if state := g.state(controllers, group); state != "" {
			states = append(states, state)
		}
		return nil
	})
	if errors.Is(err, procfs.ErrAbsent) { // a kernel without control groups
		err = nil
	}
	return found, states, err
}
