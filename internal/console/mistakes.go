package console

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lpbuild/lpbuild/pkg/diag"
)

// mistyped is an error about a name that does not exist. names are those that may have been meant.
type mistyped struct {
	text  string
	names []string
}

func (e *mistyped) Error() string { return e.text }

// Suggestion returns a question with the names that may have been meant, "" if there are none.
func Suggestion(err error) string {
	e, ok := errors.AsType[*mistyped](err)
	if !ok || len(e.names) == 0 {
		return ""
	}
	return "did you mean " + strings.Join(e.names, " or ") + "?"
}

// maxSuggested is how many names a suggestion has at most.
const maxSuggested = 3

// closest returns the names that typed begins, or else those that it resembles.
func closest(typed string, names []string) []string {
	var found []string
	for _, name := range names {
		if len(typed) > 1 && strings.HasPrefix(name, typed) {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		found = diag.Nearest(typed, names, maxSuggested)
	}
	return found[:min(len(found), maxSuggested)]
}

// UnknownCommand is the error for a word that names no command below cmd.
func UnknownCommand(cmd *cobra.Command, word, text string) error {
	names, other := []string{}, []string{}
	for _, c := range cmd.Commands() {
		switch {
		case c.Hidden:
		case slices.Contains(c.SuggestFor, word):
			other = append(other, c.Name())
		default:
			names = append(names, c.Name())
		}
	}
	if len(other) == 0 {
		other = closest(word, names)
	}
	return &mistyped{text, other}
}

// NoArguments rejects arguments. For a command with subcommands, the argument is a mistyped one.
func NoArguments(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasSubCommands():
		return UnknownCommand(cmd, args[0], fmt.Sprintf("unknown command %q", args[0]))
	}
	return fmt.Errorf("%s takes no arguments, got %q", WordsOf(cmd), args[0])
}

// OneArgument wants exactly one argument. name is what the usage line calls it.
func OneArgument(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return fmt.Errorf("%s is required", name)
		case 1:
			return nil
		}
		return fmt.Errorf("%s takes one argument, %s, got %d", WordsOf(cmd), name, len(args))
	}
}

// WordsOf is a command as it is typed, without the program's name.
func WordsOf(cmd *cobra.Command) string {
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

// flagError says in our words what is wrong with a flag or its value.
func flagError(cmd *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		return unknownFlag(cmd, e)
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		value, _ := FlagUsage(e.GetFlag())
		return fmt.Errorf("flag needs a value: %s %s", FlagNames(e.GetFlag()), value)
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return fmt.Errorf("invalid value %q for %s: %s", e.GetValue(), FlagNames(e.GetFlag()),
			wrongValue(e))
	}
	return err
}

// unknownFlag names the flag as it was typed, and the flags of the command that resemble it.
func unknownFlag(cmd *cobra.Command, e *pflag.NotExistError) error {
	if e.GetSpecifiedShortnames() != "" {
		return &mistyped{text: "unknown flag: -" + e.GetSpecifiedName()}
	}
	var names []string
	for _, flags := range []*pflag.FlagSet{cmd.NonInheritedFlags(), cmd.InheritedFlags()} {
		flags.VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
	}
	names = closest(e.GetSpecifiedName(), names)
	for i, name := range names {
		names[i] = "--" + name
	}
	return &mistyped{"unknown flag: --" + e.GetSpecifiedName(), names}
}

// wrongValue returns why a value is none of a flag's. strconv's errors have types; that of
// time.ParseDuration does not.
func wrongValue(e *pflag.InvalidValueError) string {
	switch kind := e.GetFlag().Value.Type(); {
	case errors.Is(e, strconv.ErrRange):
		return "too large"
	case kind == "bool":
		return "not true or false"
	case kind == "int":
		return "not a number"
	case kind == "duration":
		return "not a duration, such as 30s or 2m"
	}
	return e.Unwrap().Error()
}

// FlagNames are a flag's short and long name, as --help lists them.
func FlagNames(f *pflag.Flag) string {
	if f.Shorthand != "" {
		return "-" + f.Shorthand + ", --" + f.Name
	}
	return "--" + f.Name
}
