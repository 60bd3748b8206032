package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/demo"
)

func newDemo(s *console) *cobra.Command {
	var dir string
	var builds int
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the main job on a small distributor of its own",
		Long: `Makes a signed repository with several builds of a small stand-in for glibc, and goes the whole way from there: init,
download, build, dist, rpmbuild. Then malloc is patched in a program that runs on the machine's own C library, and put back
(on x86_64). Every command is shown with what it prints. Nothing outside the folder is touched.

Needs rpmbuild, createrepo_c, gpg and gcc, and gpg1 for signatures as SUSE makes them; "make demo" installs what the
distribution has of them.` + exits(nil, exitError, exitInterrupted),
		Example: "  lpbuild demo --dir /tmp/lpbuild-demo",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if builds < 1 || builds > 100 {
				return &usageError{errors.New("--builds must be from 1 to 100"), cmd.CommandPath()}
			}
			self, err := os.Executable()
			if err != nil {
				return err
			}
			return demo.Run(cmd.Context(), demo.Options{Dir: dir, Binary: self, Builds: builds, Out: s.out})
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "lpbuild-demo", "`DIR` create everything in this directory")
	cmd.Flags().IntVar(&builds, "builds", 5, "`N` release this many builds (1 to 100)")
	return cmd
}
