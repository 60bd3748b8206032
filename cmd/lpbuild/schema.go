package main

import (
	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
)

func newSchema(s *console.Console) *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print a JSON Schema of lpbuild.yaml", Args: console.NoArguments,
		Long: `
Prints a JSON Schema of lpbuild.yaml. Editors that know such schemas complete keys, show the
description of each, and mark mistakes. For editors that use the YAML language server, write the
schema to a file and name that file in the first line of lpbuild.yaml:

  # yaml-language-server: $schema=/home/jane/lpbuild.schema.json

The schema accepts every file that the other commands accept. They check more: whether files
exist, for example, and which compiler flags are allowed.` +
			console.Exits(nil, console.ExitError),
		Example: "  lpbuild schema > ~/lpbuild.schema.json",
		RunE: func(*cobra.Command, []string) error {
			text, err := config.Schema()
			if err != nil {
				return err
			}
			s.Print("%s", text)
			return nil
		},
	}
}
