package console

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	noFiles = cobra.ShellCompDirectiveNoFileComp
	dirs    = cobra.ShellCompDirectiveFilterDirs
	suffix  = cobra.ShellCompDirectiveFilterFileExt
)

// complete tells shells what may come next below root for the words of a command line: arguments,
// and values of flags by the names that --help has for them.
func complete(root *cobra.Command, words []string) {
	for _, cmd := range commandsBelow(root) {
		completeArguments(cmd)
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if value := completeValue(f); value != nil {
				// an error: the command knows better
				_ = cmd.RegisterFlagCompletionFunc(f.Name, value)
			}
		})
	}
	if cmd, _, err := root.Find(words); err == nil && cmd != root {
		hideForeign(cmd)
	}
}

// commandsBelow returns a command and all below it.
func commandsBelow(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		all = append(all, commandsBelow(sub)...)
	}
	return all
}

// hideForeign hides the global flags that mean nothing to a command.
func hideForeign(cmd *cobra.Command) {
	cmd.Root().PersistentFlags().VisitAll(func(f *pflag.Flag) {
		f.Hidden = f.Hidden || !slices.Contains(Globals[WordsOf(cmd)], f.Name)
	})
}

// completeArguments registers the arguments of a command, by what its usage line calls them.
func completeArguments(cmd *cobra.Command) {
	if cmd.ValidArgsFunction != nil || cmd.Name() == "help" {
		return
	}
	_, arguments, _ := strings.Cut(cmd.Use, " ")
	switch {
	case strings.HasPrefix(arguments, "DIR"):
		cmd.ValidArgsFunction = cobra.FixedCompletions(nil, dirs)
	case strings.Contains(arguments, "enable|disable"):
		cmd.ValidArgsFunction = firstOf("enable", "disable")
	case strings.HasSuffix(arguments, ".dsc"):
		cmd.ValidArgsFunction = cobra.FixedCompletions([]string{"dsc", "in"}, suffix)
	case strings.Contains(arguments, "CONTAINER"), strings.HasPrefix(arguments, "FILE"),
		cmd.Name() == "dump":
		cmd.ValidArgsFunction = cobra.FixedCompletions([]string{"so"}, suffix)
	case !strings.HasSuffix(arguments, "LIBRARY"):
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
}

// firstOf completes one argument.
func firstOf(words ...string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, noFiles
		}
		return words, noFiles
	}
}

// completeValue returns how the value of a flag is completed, nil if it is a file of any kind.
func completeValue(f *pflag.Flag) cobra.CompletionFunc {
	switch value, _ := FlagUsage(f); {
	case value == "ARCH,...":
		return cobra.FixedCompletions([]string{"x86_64", "ppc64le", "aarch64"}, noFiles)
	case value == "DIR", value == "CHECKOUT":
		return cobra.FixedCompletions(nil, dirs)
	case value == "CONTAINER":
		return cobra.FixedCompletions([]string{"so"}, suffix)
	case strings.Contains(value, "|") && value == strings.ToLower(value):
		return cobra.FixedCompletions(strings.Split(value, "|"), noFiles)
	case slices.Contains([]string{"FILE", "URL|FILE", "LIBRARY", "PATH", "PREFIX"}, value):
		return nil
	}
	return cobra.NoFileCompletions
}

// plainUsage takes the quotes out of what is said of flags. They tell --help how to call a value; a
// shell that asks what may come next shows them as they are.
func plainUsage(cmd *cobra.Command) {
	for _, flags := range []*pflag.FlagSet{cmd.Flags(), cmd.PersistentFlags()} {
		flags.VisitAll(func(f *pflag.Flag) { _, f.Usage = FlagUsage(f) })
	}
	for _, sub := range cmd.Commands() {
		plainUsage(sub)
	}
}
