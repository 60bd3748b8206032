package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/program"
	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Exit codes, documented in every man page.
const (
	ExitOK    = 0
	ExitError = 1 // something went wrong, or a live patch could not be made
	ExitUsage = 2 // the command line
	// a signature is wrong, missing or by an unknown key, or a repository went back
	ExitSignature   = 3
	ExitUnsupported = 4   // a file or a machine of a kind that is not supported
	ExitInterrupted = 130 // by a signal
)

// ErrUsage marks errors of the command line.
var ErrUsage = errors.New("usage")

// UsageError is an error in the command line. Command is the command whose help explains it.
type UsageError struct {
	Err     error
	Command string
}

// Usage returns a UsageError. command is the command whose help explains the usage.
func Usage(err error, command string) error { return &UsageError{err, command} }

func (e *UsageError) Error() string { return e.Err.Error() }

// Is makes every UsageError an ErrUsage.
func (e *UsageError) Is(target error) bool { return target == ErrUsage }
func (e *UsageError) Unwrap() error        { return e.Err }

// ReportedError is an error that was already explained to the user.
type ReportedError struct{ Err error }

// Reported marks an error as already explained to the user.
func Reported(err error) error { return ReportedError{err} }

func (e ReportedError) Error() string { return e.Err.Error() }
func (e ReportedError) Unwrap() error { return e.Err }

// Program describes one of our programs: its commands, and how they end.
type Program struct {
	Root   func(s *Console) *cobra.Command
	Before func(root *cobra.Command, args []string) []string // rearranges the arguments; may be nil
	// the exit code of an error, 0 for the general one; may be nil
	Code func(err error) int
	// by the name of a command with others below it
	Groups map[string]Group
}

// Group describes how the commands below a command end.
type Group struct {
	// prints the error, if any, and returns the exit code; nil: as all do
	Report   func(s *Console, err error) int
	Tolerant bool // a result that cannot be written is no error
}

// Run returns the exit code. The first signal ends the work in good order, a second one ends the
// process at once.
func (p *Program) Run(args []string, s *Console) int {
	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	defer stop()
	context.AfterFunc(ctx, stop)
	surviveReaders()
	out := &output{w: s.Out}
	s.Out = out
	root := p.Root(s)
	if p.Before != nil {
		args = p.Before(root, args)
	}
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd ||
		args[0] == cobra.ShellCompNoDescRequestCmd) {
		complete(root, args[1:])
		plainUsage(root)
	}
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	s.Finish()
	g := p.groupOf(cmd)
	if err == nil && !g.Tolerant {
		err = out.lost()
	}
	if g.Report != nil && ctx.Err() == nil {
		return g.Report(s, err)
	}
	if err != nil {
		s.ReportError(err, ctx.Err() != nil)
	}
	if ctx.Err() != nil && err != nil {
		return ExitInterrupted
	}
	return p.ExitCode(err)
}

func (p *Program) groupOf(cmd *cobra.Command) Group {
	for name, g := range p.Groups {
		if IsBelow(cmd, name) {
			return g
		}
	}
	return Group{}
}

// IsBelow reports whether a command is the command named group or one of its subcommands.
func IsBelow(cmd *cobra.Command, group string) bool {
	for ; cmd != nil && cmd.HasParent(); cmd = cmd.Parent() {
		if cmd.Name() == group {
			return true
		}
	}
	return false
}

// endings returns the signals that end the work in good order. SIGHUP is one of them unless it is
// ignored, as under nohup.
func endings() []os.Signal {
	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// ExitCode returns the exit code for an error.
func (p *Program) ExitCode(err error) int {
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, ErrUsage):
		return ExitUsage
	}
	if p.Code != nil {
		if code := p.Code(err); code != 0 {
			return code
		}
	}
	if errors.Is(err, symtab.ErrUnsupported) {
		return ExitUnsupported
	}
	return ExitError
}

// ReportError prints an error, for a person or a program.
func (s *Console) ReportError(err error, interrupted bool) {
	if interrupted {
		err = errors.New("interrupted: completed work is kept, the rest is unchanged")
	}
	if s.JSON {
		data, _ := json.Marshal(map[string]string{"error": err.Error()}) // a string is always valid
		fmt.Fprintln(s.Err, string(data))
		return
	}
	if _, ok := errors.AsType[ReportedError](err); ok {
		fmt.Fprintln(s.Err, program.Name()+": "+diag.Printable(err.Error()))
		return
	}
	fmt.Fprint(s.Err, diag.Render(err, s.Color))
	if usage, ok := errors.AsType[*UsageError](err); ok {
		if meant := Suggestion(err); meant != "" {
			fmt.Fprintf(s.Err, "  hint: %s\n", diag.Printable(meant))
		}
		fmt.Fprintf(s.Err, "  hint: see %s --help\n", usage.Command)
	}
}
