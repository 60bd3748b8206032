package console

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// architectures are the values of --arch where nothing else is known.
var architectures = []string{"x86_64", "ppc64le", "aarch64"}

// choices returns the values of a flag that takes no others: its help names them, as in nops|any.
func choices(f *pflag.Flag) []string {
	switch value, _ := FlagUsage(f); {
	case value == "ARCH,...":
		return architectures
	case strings.Contains(value, "|") && value == strings.ToLower(value):
		return strings.Split(value, "|")
	}
	return nil
}

// complete tells shells what may come next: values of options, and no files where no argument is taken.
func complete(cmd *cobra.Command) {
	if cmd.Args != nil && cmd.Args(cmd, []string{"file"}) != nil && cmd.Args(cmd, []string{"file", "file", "file", "file"}) != nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if values := choices(f); values != nil {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
		}
	})
	for _, sub := range cmd.Commands() {
		complete(sub)
	}
}

// plainUsage takes the quotes out of what is said of options. They tell --help how to call a value; a shell that asks what may
// come next shows them as they are.
func plainUsage(cmd *cobra.Command) {
	for _, flags := range []*pflag.FlagSet{cmd.Flags(), cmd.PersistentFlags()} {
		flags.VisitAll(func(f *pflag.Flag) { _, f.Usage = FlagUsage(f) })
	}
	for _, sub := range cmd.Commands() {
		plainUsage(sub)
	}
}
