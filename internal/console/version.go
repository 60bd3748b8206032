package console

import (
	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/program"
)

// NewVersion returns the command version.
func NewVersion(s *Console) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print version and commit", Args: NoArguments,
		Long: "Prints the version and, if known, the commit that the program was built from." +
			Exits(nil, ExitError),
		Example: "  lpbuild version\n  lpbuild version --json",
		RunE: func(*cobra.Command, []string) error {
			if s.JSON {
				return s.PrintJSON(program.Info())
			}
			s.Print("%s\n", program.Line())
			return nil
		},
	}
}
