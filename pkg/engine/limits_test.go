package engine_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// inNamespace starts a command as two users of a user namespace, whose limits can be set also
// without CAP_SYS_RESOURCE in our own.
func inNamespace(t *testing.T, elevated bool, argv ...string) *child {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to map users into a namespace")
	}
	if elevated {
		argv = append([]string{"setpriv", "--ruid=5", "--euid=0", "--clear-groups"}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 70000, Size: 1000}}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids,
		GidMappingsEnableSetgroups: true,
		Credential:                 &syscall.Credential{},
	}
	return run(t, cmd)
}

// TestTightLimits: limits that a user has set do not keep a program that runs with other rights
// than the user's vulnerable, and are as they were afterwards. Those of the user's own programs are
// the user's affair.
func TestTightLimits(t *testing.T) {
	cs := read(t, container(t, "a", 10))
	for name, tc := range map[string]struct {
		resource int
		limit    func(size, data uint64) uint64
	}{
		"as":    {unix.RLIMIT_AS, func(size, _ uint64) uint64 { return size }},
		"data":  {unix.RLIMIT_DATA, func(_, data uint64) uint64 { return data }},
		"stack": {unix.RLIMIT_STACK, func(_, _ uint64) uint64 { return 4096 }},
		"fsize": {unix.RLIMIT_FSIZE, func(_, _ uint64) uint64 { return 1 }},
		"files": {unix.RLIMIT_NOFILE, func(_, _ uint64) uint64 { return 3 }},
	} {
		for _, elevated := range []bool{true, false} {
			if !elevated && name != "as" {
				continue // without more room there are ways to do without
			}
			program := gcc(t, fmt.Sprintf("program/li_%s%v", name, elevated), "program.c",
				"-pthread", library(t, "a"), "-Wl,-rpath,"+filepath.Dir(library(t, "a")))
			c := inNamespace(t, elevated, program)
			c.says(unpatched)
			var limit unix.Rlimit
			must(t, unix.Prlimit(c.pid, tc.resource, nil, &limit))
			limit.Cur = tc.limit(memory(t, c.pid))
			must(t, unix.Prlimit(c.pid, tc.resource, &limit, nil))
			r := c.one(engine.Options{Containers: cs, Engines: onlyNative})
			if elevated {
				c.is(engine.Changed, nil, r)
				c.says(tens10)
			} else if r.Status != engine.Failed {
				t.Errorf("%s: %s", name, why(r))
			}
			var now unix.Rlimit
			must(t, unix.Prlimit(c.pid, tc.resource, nil, &now))
			if now != limit {
				t.Errorf("%s: the limit is %v afterwards, was %v", name, now, limit)
			}
			if t.Failed() {
				t.Fatal(name, why(r))
			}
		}
	}
}

// memory returns what a process has mapped, and how much of that is data, in bytes.
func memory(t *testing.T, pid int) (size, data uint64) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	must(t, err)
	var other uint64
	_, err = fmt.Sscan(string(b), &size, &other, &other, &other, &other, &data)
	must(t, err)
	page := uint64(os.Getpagesize())
	return size * page, data * page
}

// TestLiftedRestore gives back the limits that the process has not changed itself.
func TestLiftedRestore(t *testing.T) {
	// the shell itself, which the kernel calls secure
	c := inNamespace(t, true, "sh", "-c", "echo ready; read line")
	tight := map[int]unix.Rlimit{}
	limit := func(resource int) (now unix.Rlimit) {
		must(t, unix.Prlimit(c.pid, resource, nil, &now))
		return now
	}
	for _, resource := range []int{unix.RLIMIT_FSIZE, unix.RLIMIT_STACK} {
		now := limit(resource)
		now.Cur = 4096
		tight[resource] = now
		must(t, unix.Prlimit(c.pid, resource, &now, nil))
	}
	p, err := process.Look(t.Context(), c.pid, process.Options{})
	must(t, err)
	restore := engine.Lift(t.Context(), p, process.Options{})
	for resource, was := range tight {
		if limit(resource).Cur <= was.Cur {
			t.Errorf("limit %d is not raised", resource)
		}
	}
	its := unix.Rlimit{Cur: 8192, Max: tight[unix.RLIMIT_STACK].Max}
	must(t, unix.Prlimit(c.pid, unix.RLIMIT_STACK, &its, nil))
	restore(t.Context())
	if f, s := limit(unix.RLIMIT_FSIZE), limit(unix.RLIMIT_STACK); f != tight[unix.RLIMIT_FSIZE] ||
		s != its {
		t.Errorf("limits %v and %v, want %v and %v", f, s, tight[unix.RLIMIT_FSIZE], its)
	}
}

// TestLiftedHard: where a user has lowered the hard limit, too, it is raised if this process may do
// that (CAP_SYS_RESOURCE), and is as it was afterwards; where it may not, the soft limit is raised
// as far as that goes.
func TestLiftedHard(t *testing.T) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	must(t, unix.Capget(&header, &data[0]))
	may := data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
	t.Logf("CAP_SYS_RESOURCE: %v", may)
	c := inNamespace(t, true, "sh", "-c", "echo ready; read line")
	for _, tight := range []unix.Rlimit{{Cur: 4096, Max: 8192}, {Cur: 4096, Max: 4096}} {
		// a smaller one needs no capability
		must(t, unix.Prlimit(c.pid, unix.RLIMIT_FSIZE, &tight, nil))
		p, err := process.Look(t.Context(), c.pid, process.Options{})
		must(t, err)
		restore := engine.Lift(t.Context(), p, process.Options{})
		var now unix.Rlimit
		must(t, unix.Prlimit(c.pid, unix.RLIMIT_FSIZE, nil, &now))
		if may && now.Cur <= tight.Max || !may &&
			now != (unix.Rlimit{Cur: tight.Max, Max: tight.Max}) {
			t.Errorf("%v became %v", tight, now)
		}
		restore(t.Context())
		must(t, unix.Prlimit(c.pid, unix.RLIMIT_FSIZE, nil, &now))
		if now != tight {
			t.Errorf("the limit is %v afterwards, was %v", now, tight)
		}
	}
}
