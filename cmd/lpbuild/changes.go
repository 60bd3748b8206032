package main

import (
	"cmp"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/pkg/spec"
)

func newChanges(s *console.Console, g *globalOptions) *cobra.Command {
	cmd := &cobra.Command{Use: "changes", Short: "Edit the package's changes file",
		Args: console.NoArguments,
		Long: "NAME.changes tells customers what changed, newest first. It can also be " +
			"edited by hand." + console.Exits(nil),
		Example: "  lpbuild changes add \"Fix buffer overflow in iconv (CVE-2024-2961, " +
			"bsc#1222992)\"",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	var author string
	add := &cobra.Command{
		Use:   "add TEXT",
		Short: "Add an entry at the top of the changes file",
		Long: `
Adds an entry with the current time, or that of SOURCE_DATE_EPOCH, to NAME.changes.

The author is that of --author, or comes from the environment, as for osc and vc (VC_REALNAME,
VC_MAILADDR, EMAIL), or is the system's user.` +
			console.Exits(nil, console.ExitError, console.ExitInterrupted),
		Example: "  lpbuild changes add \"Fix buffer overflow in iconv (CVE-2024-2961, " +
			"bsc#1222992)\"",
		Args: console.OneArgument("TEXT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			release, err := g.hold(cmd.Context(), s)
			if err != nil {
				return err
			}
			defer release()
			config, err := g.config()
			if err != nil {
				return err
			}
			now, err := currentTime()
			if err != nil {
				return err
			}
			e := spec.Entry{Time: now, Author: cmp.Or(author, defaultAuthor()), Text: args[0]}
			name := config.File(config.Name + ".changes")
			if err := spec.AddChange(name, e); err != nil {
				return err
			}
			if s.JSON {
				return s.PrintJSON(map[string]string{"changes": name})
			}
			s.Print("%s\n", name)
			return nil
		},
	}
	add.Flags().StringVar(&author, "author", "",
		"`NAME` author of the entry with mail address, such as \"Jane Doe <jane@example.com>\"")
	cmd.AddCommand(add)
	return cmd
}

// currentTime returns the current time, or that of SOURCE_DATE_EPOCH, in whole seconds.
func currentTime() (time.Time, error) {
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		return time.Now().UTC().Truncate(time.Second), nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %q is not a number of seconds", epoch)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

func defaultAuthor() string {
	name, login := os.Getenv("VC_REALNAME"), "lpbuild"
	if u, err := user.Current(); err == nil {
		login = u.Username
		name = cmp.Or(name, u.Name)
	}
	mail := cmp.Or(os.Getenv("VC_MAILADDR"), os.Getenv("EMAIL"), login+"@localhost")
	return fmt.Sprintf("%s <%s>", cmp.Or(name, login), mail)
}
