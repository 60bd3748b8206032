package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// Exit codes, documented in every man page.
const (
	exitOK          = 0
	exitError       = 1   // something went wrong, or a live patch could not be made
	exitUsage       = 2   // the command line
	exitSignature   = 3   // a signature is wrong, missing or by an unknown key, or a repository went back
	exitUnsupported = 4   // a file or a machine of a kind that is not supported
	exitInterrupted = 130 // by a signal
)

// errUsage marks errors of the command line.
var errUsage = errors.New("usage")

// usageError is an error of the command line; the command's help says how it should be.
type usageError struct {
	err     error
	command string
}

func (e *usageError) Error() string        { return e.err.Error() }
func (e *usageError) Is(target error) bool { return target == errUsage }
func (e *usageError) Unwrap() error        { return e.err }

// errReported is an error about which everything has been said.
type errReported struct{ err error }

func (e errReported) Error() string { return e.err.Error() }
func (e errReported) Unwrap() error { return e.err }

// Program is what the commands of one of our programs have to themselves.
type Program struct {
	root   func(s *console) *cobra.Command
	before func(root *cobra.Command, args []string) []string // rearranges the arguments; may be nil
	code   func(err error) int                               // the exit code of an error, 0 for the general one; may be nil
	groups map[string]group                                  // by the name of a command with others below it
}

// group says how the commands below one end.
type group struct {
	report   func(s *console, err error) int // prints the error, if any, and returns the exit code; nil: as all do
	tolerant bool                            // a result that cannot be written is no error
}

// run returns the exit code. The first signal ends the work in good order, a second one ends the
// process at once.
func (p *Program) run(args []string, s *console) int {
	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	defer stop()
	context.AfterFunc(ctx, stop)
	surviveReaders()
	out := &output{w: s.out}
	s.out = out
	root := p.root(s)
	if p.before != nil {
		args = p.before(root, args)
	}
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		complete(root)
		plainUsage(root)
	}
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	s.finish()
	g := p.groupOf(cmd)
	if err == nil && !g.tolerant {
		err = out.lost()
	}
	if g.report != nil && ctx.Err() == nil {
		return g.report(s, err)
	}
	if err != nil {
		s.reportError(err, ctx.Err() != nil)
	}
	if ctx.Err() != nil && err != nil {
		return exitInterrupted
	}
	return p.exitCode(err)
}

func (p *Program) groupOf(cmd *cobra.Command) group {
	for name, g := range p.groups {
		if isBelow(cmd, name) {
			return g
		}
	}
	return group{}
}

// isBelow tells whether a command is one of a group, such as those that stand in for libpulp's, or the group itself.
func isBelow(cmd *cobra.Command, group string) bool {
	for ; cmd != nil && cmd.HasParent(); cmd = cmd.Parent() {
		if cmd.Name() == group {
			return true
		}
	}
	return false
}

// endings are the signals that end the work in good order: a terminal that is closed is one, but not for what nohup started.
func endings() []os.Signal {
	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

func (p *Program) exitCode(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, ulp.ErrUnsupported):
		return exitUnsupported
	}
	if p.code != nil {
		if code := p.code(err); code != 0 {
			return code
		}
	}
	return exitError
}

// reportError prints the end of the matter, for a person or a program.
func (s *console) reportError(err error, interrupted bool) {
	if interrupted {
		err = errors.New("interrupted: what was complete is kept, the rest is as it was")
	}
	if s.json {
		data, _ := json.Marshal(map[string]string{"error": err.Error()}) // a string is always valid
		fmt.Fprintln(s.err, string(data))
		return
	}
	if _, ok := errors.AsType[errReported](err); ok {
		fmt.Fprintln(s.err, "lpbuild: "+diag.Printable(err.Error()))
		return
	}
	fmt.Fprint(s.err, diag.Render(err, s.color))
	if usage, ok := errors.AsType[*usageError](err); ok {
		if meant := suggestion(err); meant != "" {
			fmt.Fprintf(s.err, "  hint: %s\n", diag.Printable(meant))
		}
		fmt.Fprintf(s.err, "  hint: see %s --help\n", usage.command)
	}
}
