package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// choices are the values of options that take no others.
var choices = map[string][]string{
	"arch":      {"x86_64", "ppc64le", "aarch64"},
	"engine":    {"auto", "pulp", "native"},
	"entries":   {"nops", "any"},
	"unwinding": {"any", "none"},
}

// complete tells shells what may come next: values of options, and no files where no argument is taken.
func complete(cmd *cobra.Command) {
	if cmd.Args != nil && cmd.Args(cmd, []string{"file"}) != nil && cmd.Args(cmd, []string{"file", "file", "file", "file"}) != nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		values, limited := choices[f.Name]
		if kind, _ := pflag.UnquoteUsage(f); limited && kind != "path" {
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
		flags.VisitAll(func(f *pflag.Flag) { _, f.Usage = pflag.UnquoteUsage(f) })
	}
	for _, sub := range cmd.Commands() {
		plainUsage(sub)
	}
}
