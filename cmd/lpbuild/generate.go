package main

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newGenerate is for packagers: man pages and shell completions come from the commands themselves.
func newGenerate() *cobra.Command {
	var man, completion string
	cmd := &cobra.Command{
		Use:     "generate",
		Short:   "Write man pages and shell completions",
		Hidden:  true,
		Example: "  lpbuild generate --man man --completion completion",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if man == "" && completion == "" {
				return &usageError{errors.New("--man or --completion is required"), "lpbuild generate"}
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			if man != "" {
				// A fixed date: the same commands give the same pages.
				date := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
				if err := os.MkdirAll(man, 0o755); err != nil {
					return err
				}
				if err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "lpbuild", Date: &date}, man); err != nil {
					return err
				}
			}
			if completion == "" {
				return nil
			}
			return completions(root, completion)
		},
	}
	cmd.Flags().StringVar(&man, "man", "", "`folder` for man pages")
	cmd.Flags().StringVar(&completion, "completion", "", "`folder` for completions of bash, zsh and fish")
	return cmd
}

func completions(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return errors.Join(
		root.GenBashCompletionFileV2(filepath.Join(dir, "lpbuild.bash"), true),
		root.GenZshCompletionFile(filepath.Join(dir, "_lpbuild")),
		root.GenFishCompletionFile(filepath.Join(dir, "lpbuild.fish"), true),
	)
}
