package main

import (
	"github.com/spf13/cobra"
)

// completeArch makes shells complete --arch of a command by the architectures of lpbuild.yaml.
func completeArch(cmd *cobra.Command, g *globalOptions) {
	_ = cmd.RegisterFlagCompletionFunc("arch", func(*cobra.Command, []string, string) ([]string,
		cobra.ShellCompDirective) {
		config, err := g.config()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, arch := range config.Arch {
			names = append(names, string(arch))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}) // the flag is there
}
