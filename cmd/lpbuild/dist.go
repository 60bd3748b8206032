package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/pkg/spec"
)

func newDist(s *console, g *globalOptions) *cobra.Command {
	var o buildOptions
	cmd := &cobra.Command{
		Use:   "dist",
		Short: "Write the source package: spec file, source archive, changes",
		Long: `Writes dist/<name>.spec, dist/<name>-<version>.tar.xz, dist/<name>.changes and dist/<name>-rpmlintrc.

The archive holds all that "lpbuild build --offline" needs: configuration, lock, catalogue and sources. Everything is built
first (which is quick if nothing has changed): what would not build is not distributed. The same inputs give the same
bytes, wherever and whenever; times are those of the newest changes entry.` + exitHelp,
		Example: "  lpbuild dist\n  rpmbuild -ba --define \"_sourcedir $PWD/dist\" dist/glibc-livepatches.spec",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runDist(cmd.Context(), s, g, o) },
	}
	cmd.Flags().StringSliceVar(&o.arch, "arch", nil, "try to build only for these `architectures` (default: all of lpbuild.yaml)")
	return cmd
}

func runDist(ctx context.Context, s *console, g *globalOptions, o buildOptions) error {
	in, err := runBuild(ctx, s, g, o, false)
	if err != nil {
		return err
	}
	d, err := spec.Make(ctx, in.config, in.lock, in.report)
	if err != nil {
		return err
	}
	if s.json {
		return s.printJSON(struct {
			Spec       string `json:"spec"`
			Archive    string `json:"archive"`
			Changes    string `json:"changes"`
			Rpmlintrc  string `json:"rpmlintrc"`
			Containers int    `json:"containers"`
			Unsigned   bool   `json:"unsigned"`
		}{d.Spec, d.Archive, d.Changes, d.Rpmlintrc, len(in.report.Containers()), in.lock.IsUnsigned()})
	}
	for _, name := range []string{d.Spec, d.Archive, d.Changes, d.Rpmlintrc} {
		s.print("%s\n", name)
	}
	if in.lock.IsUnsigned() {
		s.print("UNSIGNED: made for builds that no key vouches for.\n")
	}
	return nil
}
