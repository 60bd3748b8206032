package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// scripts counts the scripts that were begun.
var scripts atomic.Int64

// setupProcesses tells scripts where the sources of a stand-in for libpulp.so and of what is
// patched are ($LIVE), and gives each a name for its processes that no others have ($ME).
func setupProcesses(env *testscript.Env) error {
	env.Setenv("ME", fmt.Sprintf("t%d-%d", os.Getpid(), scripts.Add(1)))
	dir, err := filepath.Abs("../../pkg/engine/libpulp/testdata")
	env.Setenv("LIVE", dir)
	env.Values["processes"] = map[string]*scriptProcess{}
	return err
}

// scriptProcess is a program that a script started.
type scriptProcess struct {
	in  io.WriteCloser
	out *bufio.Reader
}

// startCommand implements "start NAME [KEY=VALUE]... PROGRAM [ARG]...". It starts a program that
// prints a line when it is ready and one for each line that it reads, and that runs until the
// script ends. $NAME is its PID.
func startCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME [KEY=VALUE]... PROGRAM [ARG]...")
	}
	name, args := args[0], args[1:]
	env := []string{}
	for len(args) > 1 && strings.Contains(args[0], "=") {
		env, args = append(env, args[0]), args[1:]
	}
	cmd := exec.Command(ts.MkAbs(args[0]), args[1:]...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), append(os.Environ(), env...)
	in, err := cmd.StdinPipe()
	ts.Check(err)
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	})
	p := &scriptProcess{in, bufio.NewReader(out)}
	_, err = p.out.ReadString('\n')
	ts.Check(err)
	_, err = io.WriteString(p.in, "\n") // once it has read a line it does not call malloc any more
	ts.Check(err)
	_, err = p.out.ReadString('\n')
	ts.Check(err)
	ts.Value("processes").(map[string]*scriptProcess)[name] = p
	ts.Setenv(name, strconv.Itoa(cmd.Process.Pid))
}

// saysCommand implements "says NAME TEXT": it checks that a program answers TEXT to an empty line.
func saysCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: says NAME TEXT")
	}
	p := ts.Value("processes").(map[string]*scriptProcess)[args[0]]
	if p == nil {
		ts.Fatalf("no process %s", args[0])
	}
	_, err := io.WriteString(p.in, "\n")
	ts.Check(err)
	got, err := p.out.ReadString('\n')
	ts.Check(err)
	if got = strings.TrimSpace(got); got != args[1] {
		ts.Fatalf("it says %q, want %q", got, args[1])
	}
}
