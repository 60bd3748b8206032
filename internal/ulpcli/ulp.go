package ulpcli

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/program"
	"github.com/lpbuild/lpbuild/pkg/diag"
)

// exitUlpUsage is the exit code of libpulp's tool for wrong usage (EX_USAGE).
const exitUlpUsage = 64

// ulpExitHelp is the exit status of commands that replace libpulp's: scripts check their exit
// codes.
const ulpExitHelp = `

EXIT STATUS
  0    success
  1    an error
  64   wrong usage`

// ulpTool is what the commands under "ulp" share.
type ulpTool struct {
	s       *console.Console
	verbose bool
	usage   bool
}

// New returns the command ulp, with all commands of libpulp's tool.
func New(s *console.Console) *cobra.Command {
	u, cmd := newTool(s)
	cmd.Example += "\n  lpbuild ulp packer libc_livepatch1.dsc"
	console.AddGroup(cmd, "files", "Files:", u.newPacker(), u.newDump(), u.newExtract(),
		u.newLivepatchable(), u.newPost())
	u.addProcesses(cmd)
	return cmd
}

// NewForProcesses returns the command ulp, with the commands for running processes alone.
func NewForProcesses(s *console.Console) *cobra.Command {
	u, cmd := newTool(s)
	u.addProcesses(cmd)
	return cmd
}

func newTool(s *console.Console) (*ulpTool, *cobra.Command) {
	u := &ulpTool{s: s}
	cmd := &cobra.Command{
		Use:   "ulp COMMAND",
		Short: "Drop-in replacement for libpulp's tool ulp",
		Long: `
A drop-in replacement for libpulp's tool ulp: the same commands, options, messages and exit codes,
for live patch files and for processes that have libpulp.so loaded. If this program is run as ulp,
it behaves like "lpbuild ulp". Options may be given before or after the command. -q
suppresses everything but results and errors in descriptions. Messages have no time stamps.` +
			ulpExitHelp,
		Example: "  lpbuild ulp patches\n  lpbuild ulp trigger -p 4711 libc_livepatch1.so",
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case u.usage:
				return nil
			case len(args) == 0:
				return said("Too few arguments.")
			}
			return console.UnknownCommand(cmd, args[0], fmt.Sprintf("Invalid command: %s.",
				args[0]))
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return u.printUsage(cmd) },
	}
	flags := cmd.PersistentFlags()
	flags.BoolVarP(&u.verbose, "verbose", "v", false, "print what is being done")
	flags.BoolP("help", "?", false, "print this help")
	flags.BoolVar(&u.usage, "usage", false, "print a short usage line")
	flags.BoolP("version", "V", false, "print the version")
	return u, cmd
}

func (u *ulpTool) addProcesses(cmd *cobra.Command) {
	console.AddGroup(cmd, "processes", "Running processes:",
		u.newTrigger(), u.newPatches(), u.newCheck(), u.newMessages(), u.newSetPatchable())
	for _, c := range append(cmd.Commands(), cmd) {
		console.AnswerVersion(c, program.Name()+" "+program.Version())
	}
}

// command returns a command with one argument, the file that it is about.
func (u *ulpTool) command(cmd *cobra.Command, run func(file string) error) *cobra.Command {
	if !strings.Contains(cmd.Long, "\nEXIT STATUS\n") {
		cmd.Long += ulpExitHelp
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch {
		case u.usage:
		case u.s.Quiet && u.verbose:
			return said("You must specify either '-v' or '-q' or none.")
		case len(args) < 1 && cmd.Name() == "livepatchable":
			return said("file is mandatory in 'livepatchable' command.")
		case len(args) < 1:
			return said("Too few arguments.")
		case len(args) > 1:
			return said("Too many arguments.")
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if u.usage {
			return u.printUsage(cmd)
		}
		return run(args[0])
	}
	return cmd
}

func (u *ulpTool) printUsage(cmd *cobra.Command) error {
	u.s.Print("Usage: %s\n", cmd.UseLine())
	return nil
}

// say prints a line about what was done, as libpulp does: to standard error, unless -q is given.
func (u *ulpTool) say(format string, args ...any) {
	if !u.s.Quiet && !u.s.JSON {
		fmt.Fprintf(u.s.Err, "ulp: %s\n", diag.Printable(fmt.Sprintf(format, args...)))
	}
}

// debug prints a line with -v only.
func (u *ulpTool) debug(format string, args ...any) {
	if u.verbose {
		u.say(format, args...)
	}
}

// said returns an error in libpulp's words, which begin with a capital letter.
func said(format string, args ...any) error { return fmt.Errorf(format, args...) }

// quietError is an error that -q silences: the exit code is enough.
type quietError struct{ err error }

func (e quietError) Error() string { return e.err.Error() }
func (e quietError) Unwrap() error { return e.err }

// Report prints an error of a command under "ulp" and returns the exit code.
func Report(s *console.Console, err error) int {
	usage, isUsage := errors.AsType[*console.UsageError](err)
	_, reported := errors.AsType[console.ReportedError](err)
	_, silent := errors.AsType[quietError](err)
	switch {
	case err == nil:
		return console.ExitOK
	case reported, silent && s.Quiet:
	case s.JSON:
		s.ReportError(err, false)
	case isUsage:
		fmt.Fprintf(s.Err, "ulp: %s\n", diag.Printable(err.Error()))
		if meant := console.Suggestion(err); meant != "" {
			fmt.Fprintf(s.Err, "ulp: %s\n", meant)
		}
		fmt.Fprintf(s.Err, "Try '%s --help' for more information.\n", usage.Command)
	default:
		fmt.Fprintf(s.Err, "ulp: %s\n", diag.Printable(err.Error()))
	}
	if isUsage {
		return exitUlpUsage
	}
	if coded, ok := errors.AsType[codeError](err); ok {
		return coded.code
	}
	return console.ExitError
}

// Arguments returns the program's arguments. Under the name ulp, which is that of libpulp's tool,
// it is "lpbuild ulp".
func Arguments(argv []string) []string {
	switch {
	case len(argv) == 0:
		return nil
	case filepath.Base(argv[0]) == "ulp":
		return append([]string{"ulp"}, argv[1:]...)
	}
	return argv[1:]
}

// CommandFirst moves the command after "ulp" before its flags, where cobra requires it:
// libpulp's tool takes them in any order.
func CommandFirst(root *cobra.Command, args []string) []string {
	i := firstWord(args, root)
	if i < 0 || args[i] != "ulp" {
		return args
	}
	cmd, _, err := root.Find([]string{"ulp"})
	if err != nil {
		return args
	}
	rest := args[i+1:]
	j := firstWord(rest, append(cmd.Commands(), cmd, root)...)
	if j < 0 {
		return args
	}
	out := append(append([]string{}, args[:i+1]...), rest[j])
	return append(append(out, rest[:j]...), rest[j+1:]...)
}

// firstWord returns the index of the first argument that is neither a flag of the commands nor a
// flag's value, -1 if there is none.
func firstWord(args []string, commands ...*cobra.Command) int {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			return -1
		case len(arg) < 2 || arg[0] != '-':
			return i
		case takesNext(arg, commands):
			i++
		}
	}
	return -1
}

// takesNext reports whether the flag's value is the next argument.
func takesNext(arg string, commands []*cobra.Command) bool {
	if name, long := strings.CutPrefix(arg, "--"); long {
		f := lookup(commands, func(flags *pflag.FlagSet) *pflag.Flag { return flags.Lookup(name) })
		return f != nil && f.NoOptDefVal == ""
	}
	for n := 1; n < len(arg); n++ {
		f := lookup(commands, func(flags *pflag.FlagSet) *pflag.Flag {
			return flags.ShorthandLookup(arg[n : n+1])
		})
		if f != nil && f.NoOptDefVal == "" {
			return n == len(arg)-1 // otherwise the value is the rest of the argument
		}
	}
	return false
}

func lookup(commands []*cobra.Command, in func(*pflag.FlagSet) *pflag.Flag) *pflag.Flag {
	for _, cmd := range commands {
		for _, flags := range []*pflag.FlagSet{cmd.Flags(), cmd.PersistentFlags()} {
			if f := in(flags); f != nil {
				return f
			}
		}
	}
	return nil
}
