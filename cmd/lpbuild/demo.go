package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/demo"
)

func newDemo(s *console.Console) *cobra.Command {
	var dir string
	var builds int
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the whole workflow on a small distributor of its own",
		Long: `
Creates a signed repository with several builds of a small stand-in for glibc, and runs init,
download, build, dist and rpmbuild on it. Then it patches malloc in a program that runs on this
machine's C library, and reverts the patch (on x86_64). Every command is shown with its output.
Nothing outside the directory is changed.

The demo needs rpmbuild, createrepo_c, gpg and gcc, and gpg1 for signatures like SUSE's. "make
demo" installs those that the distribution has.` +
			console.Exits(nil, console.ExitError, console.ExitInterrupted),
		Example: "  lpbuild demo --dir /tmp/lpbuild-demo",
		Args:    console.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if builds < 1 || builds > 100 {
				return console.Usage(errors.New("--builds must be from 1 to 100"),
					cmd.CommandPath())
			}
			self, err := os.Executable()
			if err != nil {
				return err
			}
			return demo.Run(cmd.Context(), demo.Options{Dir: dir, Binary: self, Builds: builds,
				Out: s.Out})
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "lpbuild-demo", "`DIR` create everything in this directory")
	cmd.Flags().IntVar(&builds, "builds", 5, "`N` release this many builds (1 to 100)")
	return cmd
}
