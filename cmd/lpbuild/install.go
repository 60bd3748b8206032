package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix"
)

func newInstall(s *console, g *globalOptions) *cobra.Command {
	var root string
	var arch []string
	cmd := &cobra.Command{
		Use:   "install --root FOLDER",
		Short: "Put the built containers where the package has them (for %install)",
		Long: `Copies the containers of the last build to FOLDER/usr/lib64/<name>/<version>, with mode 0755: RPM before 4.17 notes what a
shared object provides only if it is executable.` + exitHelp,
		Example: "  lpbuild install --root %{buildroot}\n  lpbuild install --arch ppc64le --root /tmp/root",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if root == "" {
				return &usageError{errors.New("--root is required"), "lpbuild install"}
			}
			release, err := g.hold(cmd.Context(), s)
			if err != nil {
				return err
			}
			defer release()
			in, err := readInputs(g, arch)
			if err != nil {
				return err
			}
			names, err := buildmatrix.Install(in.config, in.only, root)
			if err != nil {
				return err
			}
			if s.json {
				return s.printJSON(list(names))
			}
			for _, name := range names {
				s.print("%s\n", name)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "`folder` that stands for /")
	cmd.Flags().StringSliceVar(&arch, "arch", nil, "only these `architectures` (default: all of lpbuild.yaml)")
	return cmd
}
