package main

import (
	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/pkg/spec"
)

func newClean(s *console, g *globalOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "clean",
		Short: "Remove what build and dist made, and nothing else",
		Long: `Removes what the last "lpbuild build" and "lpbuild dist" wrote. Files that they did not write stay, and so do lock and
catalogue, which belong into version control, and the store, which all package folders share.` + exitHelp,
		Example: "  lpbuild clean\n  lpbuild -C glibc-livepatches clean",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := g.config()
			if err != nil {
				return err
			}
			removed, err := spec.Clean(config)
			if err != nil {
				return err
			}
			if s.json {
				return s.printJSON(removed)
			}
			for _, name := range removed {
				s.print("removed %s\n", name)
			}
			return nil
		},
	}
}
