package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/distro"
)

var updateScripts = flag.Bool("update", false, "rewrite what scripts compare with")

// TestScripts runs testdata/script/*.txtar: the program as a person uses it. Beside the usual
// commands there are
//
//	distro [builds=N] [arch=A,B] [compression=X] [v3] [ed25519] [unsigned] [expired] [rpm=FILE]...
//		a distributor on loopback: sets $URL, $KEY (a file); v3 means version 4 where the
//		distribution has no gpg1
//	exits CODE PROGRAM ARG…
//		runs a program and wants that exit code
//	same FILE FILE
//		wants two files to have the same bytes
//	start NAME [KEY=VALUE]... PROGRAM [ARG]..., says NAME TEXT
//		a process to be patched: see startCommand, saysCommand. $LIVE has the sources of some
//
//	buildservice PROJECT PACKAGE, requests N
//		a build service for osc, and how many requests it must have got
//
// and the conditions [v3], that version 3 signatures can be made here, and [namespaces], that
// "unshare $UNSHARE --mount" works. $OFFLINE is how to run a command without a network: it is env,
// which changes nothing, where the machine does not permit that.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *updateScripts, RequireExplicitExec: true,
		RequireUniqueNames: true,
		Setup:              setup,
		Condition: func(name string) (bool, error) {
			switch name {
			case "v3":
				return distro.CanSignV3() == nil, nil
			case "namespaces":
				return exec.Command("unshare", append(strings.Fields(unshareNet()), "--mount",
					"true")...).Run() == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"distro": distroCommand, "exits": exitsCommand, "same": sameCommand,
			"start": startCommand, "says": saysCommand,
			"buildservice": buildserviceCommand, "requests": requestsCommand,
		},
	})
}

// unshareNet returns options of unshare for a network namespace that this process may make.
var unshareNet = sync.OnceValue(func() string {
	if exec.Command("unshare", "--net", "true").Run() == nil {
		return "--net"
	}
	return "--map-root-user --net"
})

// offline returns the prefix of a command line that runs it without a network.
var offline = sync.OnceValue(func() string {
	if args := append(strings.Fields(unshareNet()), "true"); exec.Command("unshare",
		args...).Run() != nil {
		return "env"
	}
	return "unshare " + unshareNet()
})

// otherUser returns the prefix of a command line that runs it as another user with read access.
var otherUser = sync.OnceValue(func() string {
	const caps = "+dac_override,+dac_read_search"
	for _, as := range []string{
		"setpriv --reuid 1234 --clear-groups --inh-caps=" + caps + " --ambient-caps=" + caps,
		"unshare --map-user=1234", // not in a chroot
	} {
		argv := append(strings.Fields(as), "true")
		if exec.Command(argv[0], argv[1:]...).Run() == nil {
			return as
		}
	}
	return "env"
})

func setup(env *testscript.Env) error {
	env.Setenv("LPBUILD_CACHE", filepath.Join(env.WorkDir, ".cache"))
	env.Setenv("HOME", filepath.Join(env.WorkDir, ".home"))
	env.Setenv("SOURCE_DATE_EPOCH", "1767323045") // 2026-01-02 03:04:05
	env.Setenv("VC_REALNAME", "Jane Doe")
	env.Setenv("VC_MAILADDR", "jane@example.com")
	env.Setenv("LC_ALL", "C.UTF-8")
	env.Setenv("UNSHARE", unshareNet())
	env.Setenv("OFFLINE", offline())
	env.Setenv("OTHERUSER", otherUser())
	if err := setupProcesses(env); err != nil {
		return err
	}
	return os.MkdirAll(filepath.Join(env.WorkDir, ".home"), 0o755)
}

func distroCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: distro [option...]")
	}
	var o distro.StandardOptions
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "builds":
			n, err := strconv.Atoi(value)
			ts.Check(err)
			o.Builds = n
		case "compression":
			o.Compression = value
		case "v3":
			if err := distro.CanSignV3(); err != nil {
				ts.Logf("distro: version 4 signatures: %v", err)
				continue
			}
			o.KeyOptions.V3Signatures = true
		case "ed25519":
			o.KeyOptions.Algorithm = "ed25519"
		case "expired":
			o.KeyOptions.Expired = true
		case "arch":
			o.Arches = strings.Split(value, ",")
		case "unsigned":
			o.Unsigned = true
		case "rpm":
			o.RPMs = append(o.RPMs, ts.MkAbs(value))
		default:
			ts.Fatalf("distro: unknown option %q", arg)
		}
	}
	dir := ts.MkAbs(".distro")
	_, err := distro.StandardRepository(context.Background(), dir, o)
	ts.Check(err)
	server, err := distro.Serve(dir)
	ts.Check(err)
	ts.Defer(func() { server.Close() })
	ts.Setenv("URL", server.URL)
	ts.Setenv("KEY", filepath.Join(dir, "key.asc"))
	ts.Setenv("REPO", dir)
}

func exitsCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func sameCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: same FILE FILE")
	}
	if same := bytes.Equal([]byte(ts.ReadFile(args[0])),
		[]byte(ts.ReadFile(args[1]))); same == neg {
		ts.Fatalf("%s and %s: %s", args[0], args[1], map[bool]string{true: "the same",
			false: "different"}[same])
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 10239: "10239 B", 10240: "10 KiB",
		20 << 20: "20 MiB", 11 << 30: "11 GiB"} {
		if got := console.Size(n); got != want {
			t.Errorf("size(%d) = %s, want %s", n, got, want)
		}
	}
	if got := fmt.Sprint(console.Plural(1, "build"),
		console.Plural(0, "build")); got != "1 build0 builds" {
		t.Error(got)
	}
}
