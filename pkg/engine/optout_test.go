package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine"
)

// optsOut fails the test unless a process without libpulp.so is left alone, or is not.
func (c *child) optsOut(blocked bool, because string) {
	c.t.Helper()
	cs := read(c.t, container(c.t, "a", 10))
	r := c.one(engine.Options{Containers: cs, Engines: onlyNative})
	if blocked {
		c.is(engine.Skipped, engine.ErrBlocked, r)
		c.says(unpatched)
		c.unmapped()
	} else {
		c.is(engine.Changed, nil, r)
		c.says(tens10)
	}
	if c.t.Failed() {
		c.t.Fatal(because)
	}
}

// TestOptOutNames has users and groups by name, and patterns with groups, as libpulp.so takes them.
func TestOptOutNames(t *testing.T) {
	me, err := user.Current()
	must(t, err)
	group, err := user.LookupGroupId(me.Gid)
	must(t, err)
	for variable, blocked := range map[string]bool{
		"LIBPULP_DISABLE_ON_USERS=nobody-else:" + me.Username:            true,
		"LIBPULP_DISABLE_ON_USERS=@(nobody-else|" + me.Username + ")":    true,
		"LIBPULP_DISABLE_ON_USERS=nobody-else":                           false,
		"LIBPULP_DISABLE_ON_GROUPS=" + group.Name:                        true,
		"LIBPULP_DISABLE_ON_GROUPS=!(" + group.Name + "|" + me.Gid + ")": false,
		"LIBPULP_DISABLE_ON_PATH=*/+(opt|out|_)names":                    true,
		// of which "*" is all but the name
		"LIBPULP_DISABLE_ON_PATH=*/!(opt*)": true,
	} {
		start(t, "a", "", "optout_names", variable).optsOut(blocked, variable)
	}
}

// TestOptOutTitle: a program that shows its work where its environment was has not changed its
// owner's mind.
func TestOptOutTitle(t *testing.T) {
	rpath := "-Wl,-rpath," + filepath.Dir(library(t, "a"))
	for name, program := range map[string]string{
		"of libc": gcc(t, "program/optout_title", "program.c", "-pthread", library(t, "a"), rpath),
		"a copy": gcc(t, "program/optout_titlecopy", "program.c", "-pthread", library(t, "a"),
			rpath, "-DCOPY", "-no-pie", "-fno-pie"),
		"stripped": gcc(t, "program/optout_titlestrip", "program.c", "-pthread", library(t, "a"),
			rpath, "-DCOPY", "-s"),
	} {
		for variable, blocked := range map[string]bool{"LIBPULP_DISABLE_ON_PATH=*/optout_*": true,
			"LIBPULP_DISABLE_ON_PATH=*/other": false} {
			cmd := exec.Command(program)
			cmd.Env = append(os.Environ(), "TITLE=checkpointer", "A=1", variable,
				"LIBPULP_DISABLE_ON_PATH_NOT=*")
			c := run(t, cmd)
			c.says(unpatched)
			if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", c.pid)); err != nil ||
				bytes.Contains(b, []byte("LIBPULP")) {
				t.Fatalf("the environment is where it was: %v", err)
			}
			c.optsOut(blocked, name+": "+variable)
		}
	}
}

// TestOptOutRealUser: it is the real user that counts, as for libpulp.so. Root may opt out of
// anything that it starts.
func TestOptOutRealUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to start a process with two users")
	}
	targettest.NeedOthers(t)
	program := gcc(t, "program/optout_real", "program.c", "-pthread", library(t, "a"),
		"-Wl,-rpath,"+filepath.Dir(library(t, "a")))
	for user, blocked := range map[string]bool{"77777": false, "0": true} {
		for _, kind := range []string{"USERS", "GROUPS"} {
			cmd := exec.Command("setpriv", "--ruid=0", "--euid=77777", "--rgid=0", "--egid=77777",
				"--clear-groups", program)
			cmd.Env = append(os.Environ(), "LIBPULP_DISABLE_ON_"+kind+"="+user)
			c := run(t, cmd)
			c.says(unpatched)
			c.optsOut(blocked, kind+" "+user)
		}
	}
}

// TestOptOutElevated: a user does not opt out for programs that run with other rights than the
// user's own, be libpulp.so in them or not, and the report says so.
func TestOptOutElevated(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for setuid programs")
	}
	targettest.NeedOthers(t)
	cs := read(t, container(t, "a", 10))
	rpath := []string{"-pthread", library(t, "a"), "-Wl,-rpath," + filepath.Dir(library(t, "a"))}
	withLibpulp := append(rpath, "-Wl,--no-as-needed", standIn(t), "-Wl,-rpath,"+
		filepath.Dir(standIn(t)))
	setuid := func(program string) error { return os.Chmod(program, os.ModeSetuid|0o755) }
	setgid := func(program string) error {
		return errors.Join(os.Chown(program, 0, 4), os.Chmod(program, os.ModeSetgid|0o755))
	}
	setcap := func(program string) error { // cap_net_raw+ep
		return unix.Setxattr(program, "security.capability", []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0,
			0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0)
	}
	plain := func(string) error { return nil }
	for name, tc := range map[string]struct {
		rights  func(program string) error
		flags   []string
		user    string
		ignored bool
	}{
		"setuid":       {setuid, rpath, "65533", true},
		"setgid":       {setgid, rpath, "65533", true},
		"setcap":       {setcap, rpath, "65533", true},
		"setuidpulp":   {setuid, withLibpulp, "65533", true},
		"plain":        {plain, rpath, "65533", false},
		"plainpulp":    {plain, withLibpulp, "65533", false},
		"setuidbyroot": {setuid, rpath, "0", false},
	} {
		program := gcc(t, "program/el_"+name, "program.c", tc.flags...)
		must(t, tc.rights(program))
		cmd := exec.Command("setpriv", "--reuid="+tc.user, "--regid="+tc.user, "--clear-groups",
			program)
		cmd.Env = append(os.Environ(), "LIBPULP_DISABLE_ON_PATH=*")
		c := run(t, cmd)
		for _, dry := range []bool{true, false} {
			r := c.one(engine.Options{Containers: cs, Engines: auto(), DryRun: dry})
			if tc.ignored {
				c.is(engine.Changed, nil, r)
			} else {
				c.is(engine.Skipped, engine.ErrBlocked, r)
			}
			if (r.Note != "") != tc.ignored || r.Elevated != tc.ignored {
				t.Errorf("%s: elevated %v, %q", name, r.Elevated, r.Note)
			}
		}
		if tc.ignored {
			c.says(tens10)
		} else {
			c.says(unpatched)
		}
		if name == "setuidpulp" { // with this engine alone nothing can be done: then it says so
			r := c.one(engine.Options{Containers: read(t, container(t, "a", 20))})
			c.is(engine.Skipped, engine.ErrNoEngine, r)
		}
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// TestOptOutChroot: the path is that by which the process itself knows its program.
func TestOptOutChroot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for chroot")
	}
	program := gcc(t, "program/optout_chroot", "program.c", "-pthread", library(t, "a"),
		"-Wl,-rpath,"+filepath.Dir(library(t, "a")))
	root := inRoot(t, program)
	for pattern, blocked := range map[string]bool{program: true, root + program: true, root: false,
		filepath.Dir(program): false} {
		cmd := exec.Command(program)
		cmd.Dir, cmd.Env = "/", []string{"LIBPULP_DISABLE_ON_PATH=" + pattern}
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		c := run(t, cmd)
		c.says(unpatched)
		c.optsOut(blocked, pattern)
	}
}

// inRoot makes a root directory in which a program runs, by the path that it has outside.
func inRoot(t *testing.T, program string) string {
	t.Helper()
	root := t.TempDir()
	out, err := exec.Command("ldd", program).Output()
	must(t, err)
	files := append(regexp.MustCompile(`/\S+`).FindAllString(string(out), -1), program)
	for _, file := range files {
		b, err := os.ReadFile(file)
		must(t, err)
		must(t, os.MkdirAll(root+filepath.Dir(file), 0o755))
		must(t, os.WriteFile(root+file, b, 0o755))
	}
	return root
}
