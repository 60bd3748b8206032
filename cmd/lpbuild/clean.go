package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/progress"
	"github.com/lpbuild/lpbuild/pkg/spec"
)

func newClean(s *console.Console, g *globalOptions) *cobra.Command {
	var storeToo bool
	cmd := &cobra.Command{
		Use:   "clean",
		Short: "Remove what build and dist wrote",
		Long: `
Removes what the last "lpbuild build" and "lpbuild dist" wrote, and nothing else. The lock and the
catalogue stay; they belong in version control. The store, which all package directories share, is
emptied only with --store. What is needed again is then downloaded again.` +
			console.Exits(nil, console.ExitError, console.ExitInterrupted),
		Example: "  lpbuild clean\n  lpbuild -C glibc-livepatches clean --store",
		Args:    console.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			release, err := g.hold(cmd.Context(), s)
			if err != nil {
				return err
			}
			defer release()
			config, err := g.config()
			if err != nil {
				return err
			}
			removed, err := spec.Clean(config)
			if err != nil {
				return err
			}
			if storeToo {
				if err := emptyStore(cmd.Context(), s); err != nil {
					return err
				}
			}
			if s.JSON {
				return s.PrintJSON(console.List(removed))
			}
			for _, name := range removed {
				s.Print("removed %s\n", name)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&storeToo, "store", false, "also empty the store of downloaded files")
	return cmd
}

func emptyStore(ctx context.Context, s *console.Console) error {
	st, err := openStore("")
	if err != nil {
		return err
	}
	freed, err := st.Prune(ctx, func(digest.Digest) bool { return false })
	progress.Func(s.Progress).Note("clean", fmt.Sprintf("%s: %s freed", st.Dir(),
		console.Size(freed)))
	return err
}
