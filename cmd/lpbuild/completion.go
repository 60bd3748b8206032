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
