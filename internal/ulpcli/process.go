package ulpcli

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/lpbuild/lpbuild/internal/enginecli"
	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/libpulp"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// exitUlpFatal is the exit code of libpulp's check if the answer is unknown (-1).
const exitUlpFatal = 255

// codeError is an error with an exit code of its own.
type codeError struct {
	err  error
	code int
}

func (e codeError) Error() string { return e.err.Error() }
func (e codeError) Unwrap() error { return e.err }

// processOptions are the options that the commands for running processes share, with libpulp's
// names.
type processOptions struct {
	process, user string
	noThreads     bool
	retries       int
	color         string
}

// addPID adds -p for a command that is about one process.
func (o *processOptions) addPID(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.process, "process", "p", "", "`PID` the process")
	_ = cmd.RegisterFlagCompletionFunc("process", enginecli.CompletePID) // the flag is there
}

func (o *processOptions) addSelector(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.process, "process", "p", "", enginecli.ProcessUsage)
	cmd.Flags().StringVarP(&o.user, "user", "u", "", enginecli.UserUsage)
	cmd.Flags().BoolVar(&o.noThreads, "disable-threading", false, "work on one process at a time")
	enginecli.CompleteProcesses(cmd)
}

func (o *processOptions) addRetries(cmd *cobra.Command) {
	cmd.Flags().IntVarP(&o.retries, "retries", "r", 1,
		"`N` try up to N times while a process is busy")
}

func (o *processOptions) addColor(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.color, "color", "auto", "`yes|no|auto` color the output")
}

// checkRetries rejects what libpulp rejects.
func (o *processOptions) checkRetries() error {
	if o.retries < 1 {
		return said("The argument to '-r' must be greater than zero; got %d.", o.retries)
	}
	return nil
}

func (o *processOptions) selector() (engine.Selector, error) {
	return engine.ParseSelector(o.process, o.user)
}

func (o *processOptions) workers() int {
	if o.noThreads {
		return 1
	}
	return 0
}

// colored reports whether to color the output. As for libpulp, every word except no, n and auto
// means yes.
func (o *processOptions) colored() bool {
	switch o.color {
	case "no", "n":
		return false
	case "auto", "":
		_, noColor := os.LookupEnv("NO_COLOR")
		name := os.Getenv("TERM")
		return term.IsTerminal(int(os.Stdout.Fd())) && name != "" && name != "dumb" && !noColor
	}
	return true
}

// processCommand returns a command for running processes. args checks the arguments.
func (u *ulpTool) processCommand(cmd *cobra.Command, args func(args []string) error,
	run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd.Args = func(_ *cobra.Command, list []string) error {
		switch {
		case u.usage:
			return nil
		case u.s.Quiet && u.verbose:
			return said("You must specify either '-v' or '-q' or none.")
		}
		return args(list)
	}
	cmd.RunE = func(cmd *cobra.Command, list []string) error {
		if u.usage {
			return u.printUsage(cmd)
		}
		if err := mayTrace(); err != nil {
			return quietError{err}
		}
		return run(cmd, list)
	}
	return cmd
}

// yamaScope is the sysctl that restricts which processes may trace others.
const yamaScope = "/proc/sys/kernel/yama/ptrace_scope"

// mayTrace returns an error with advice if only root may examine processes.
func mayTrace() error {
	data, err := os.ReadFile(yamaScope)
	if os.Geteuid() == 0 || err != nil || bytes.Equal(bytes.TrimSpace(data), []byte("0")) {
		return nil
	}
	return said("System has 'ptrace_scope' enabled. Please become root or disable it by "+
		"setting:\n\n"+
		"$ echo 0 | sudo tee %s\n\nand try again.", yamaScope)
}

// oneFile wants exactly one argument.
func oneFile(args []string) error {
	switch {
	case len(args) < 1:
		return said("Too few arguments.")
	case len(args) > 1:
		return said("Too many arguments.")
	}
	return nil
}

// libpulpTexts are libpulp's texts for errors; scripts search its output for them.
var libpulpTexts = []struct {
	err  error
	text string
}{
	{engine.ErrNoEngine, libpulp.ErrNotLoaded.Error()},
	{engine.ErrBuildID, libpulp.ErrBuildID.Error()},
	{engine.ErrNotLoaded, libpulp.ErrNoTarget.Error()},
	{engine.ErrApplied, libpulp.ErrApplied.Error()},
	{engine.ErrNotApplied, libpulp.ErrNotApplied.Error()},
	{engine.ErrNoPatches, libpulp.ErrNoPatches.Error()},
	{engine.ErrBlocked, libpulp.ErrBlocked.Error()},
	{engine.ErrNoMetadata, libpulp.ErrNoMetadata.Error()},
	{engine.ErrNotReady, libpulp.ErrAgain.Error()}, {engine.ErrNoProcess, "No such process"},
	{process.ErrGone, "No such process"}, {engine.ErrPermission, "Error attaching to process"},
	{process.ErrPermission, "Error attaching to process"}, {engine.ErrDeadline, "Timer expired"},
}

// libpulpText returns libpulp's text for an error, and further detail.
func libpulpText(err error) (text, detail string) {
	if err == nil {
		return "", ""
	}
	if e, ok := errors.AsType[*libpulp.Error](err); ok {
		text = e.Code.Error()
		return strings.ToUpper(text[:1]) + text[1:],
			strings.TrimPrefix(strings.TrimPrefix(e.Error(), text), ": ")
	}
	for _, t := range libpulpTexts {
		if errors.Is(err, t.err) {
			return t.text, err.Error()
		}
	}
	return err.Error(), ""
}

// gathering reports in libpulp's words that a process could not be examined.
func (u *ulpTool) gathering(err error) {
	text, detail := libpulpText(err)
	u.say("error gathering target process information: %s", text)
	if detail != "" {
		u.debug("%s", detail)
	}
}

// seconds parses a number of seconds.
func seconds(value string) (time.Duration, error) {
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return 0, said("--timeout value must be a non-negative integer")
	}
	return time.Duration(n) * time.Second, nil
}
