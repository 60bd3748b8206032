package main

import (
	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/program"
)

func newVersion(s *console) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print version and commit", Args: noArguments,
		Long:    "Prints the version and, if known, the commit that the program was built from." + exits(nil, exitError),
		Example: "  lpbuild version\n  lpbuild version --json",
		RunE: func(*cobra.Command, []string) error {
			if s.json {
				return s.printJSON(program.Info())
			}
			s.print("%s\n", program.Line())
			return nil
		},
	}
}
