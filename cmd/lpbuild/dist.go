package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/pkg/spec"
)

func newDist(s *console, g *globalOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "dist",
		Short: "Write the source package: spec file, source archive, changes",
		Long: `Writes dist/<name>.spec, dist/<name>-<version>.tar.xz, dist/<name>.changes and dist/<name>-rpmlintrc.

The archive holds all that "lpbuild build --offline" needs: configuration, lock, catalogue and sources. Everything is built
first, for every architecture of lpbuild.yaml (which is quick if nothing has changed): what would not build is not
distributed, and what only one architecture includes is not forgotten. The same inputs give the same bytes, wherever and
whenever; times are those of the newest changes entry. After an error a former source package is as it was.` + exitHelp,
		Example: "  lpbuild dist\n  rpmbuild -ba --nodeps --define \"_sourcedir $PWD/dist\" dist/glibc-livepatches.spec",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runDist(cmd.Context(), s, g) },
	}
}

func runDist(ctx context.Context, s *console, g *globalOptions) error {
	in, err := runBuild(ctx, s, g, buildOptions{}, false)
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
