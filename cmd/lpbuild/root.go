package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/dirlock"
	"github.com/lpbuild/lpbuild/internal/shellword"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix"
	"github.com/lpbuild/lpbuild/pkg/progress"
)

// globalOptions are the flags of every command.
type globalOptions struct {
	dir string
}

func newRoot(s *console) *cobra.Command {
	cobra.EnableCommandSorting = false // the order is that of the work
	var g globalOptions
	root := &cobra.Command{
		Use:   "lpbuild",
		Short: "Build userspace live patches and apply them to running processes",
		Long:  "lpbuild takes a userspace live patch from its source to the customer's running processes." + exits(nil, exitError, exitSignature, exitUnsupported, exitInterrupted),
		Example: "  lpbuild init glibc-livepatches --product SLE-15-SP5 --key vendor.asc --repository URL\n" +
			"  cd glibc-livepatches && lpbuild download && lpbuild build && lpbuild dist\n" +
			"  lpbuild trigger 'build/x86_64/*.so'\n  lpbuild status",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArguments,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Version:       versionLine(),
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.Flags().Bool("version", false, "print version and commit")
	root.SetOut(s.out)
	root.SetErr(s.err)
	flags := root.PersistentFlags()
	flags.StringVarP(&g.dir, "dir", "C", ".", "`DIR` package directory")
	flags.BoolVar(&s.json, "json", false, "print the result as JSON")
	flags.BoolVarP(&s.quiet, "quiet", "q", false, "print no progress, only warnings and the result")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &usageError{flagError(cmd, err), cmd.CommandPath()} })
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { printHelp(cmd, s.out) })
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		printUsage(cmd, s.err)
		return nil
	})
	addGroup(root, "package", "In a package directory (made by init):",
		newInit(s), newDownload(s, &g), newBuild(s, &g), newDist(s, &g), newSubmit(s, &g), newChanges(s, &g), newClean(s, &g))
	addGroup(root, "processes", "Running processes:", newTrigger(s), newRevert(s), newStatus(s))
	addGroup(root, "rpm", "Called by RPM packages:", newInstall(s, &g), newHook(s))
	addGroup(root, "other", "Other:", newUlp(s), newDemo(s), newSchema(s), newVersion(s), newGenerate())
	root.SetHelpCommandGroupID("other")
	root.SetCompletionCommandGroupID("other")
	describeCompletion(root)
	wrapUsage(root)
	knowTopics(root)
	return root
}

// addGroup adds commands to parent, below a title of their own. --help lists them in this order.
func addGroup(parent *cobra.Command, id, title string, commands ...*cobra.Command) {
	parent.AddGroup(&cobra.Group{ID: id, Title: title})
	for _, c := range commands {
		c.GroupID = id
	}
	parent.AddCommand(commands...)
}

// describeCompletion gives cobra's command the manners of the others.
func describeCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	c, _, err := root.Find([]string{"completion"})
	if err != nil {
		return
	}
	c.Short = "Print the completion script for a shell"
	c.Long = "Prints the script that makes a shell complete the commands, flags and values of lpbuild.\n" +
		"lpbuild's RPM installs these scripts."
	c.Example = "  lpbuild completion bash --help\n  . <(lpbuild completion bash)"
	c.Args, c.RunE = noArguments, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	for _, sub := range c.Commands() {
		sub.Short = "Print the completion script for " + sub.Name()
		sub.Example = "  lpbuild completion " + sub.Name()
	}
}

// knowTopics makes help about what is not there an error: cobra shows the usage and ends well.
func knowTopics(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	help, _, err := root.Find([]string{"help"})
	if err != nil {
		return
	}
	help.Short = "Show the help of a command"
	help.Long = "Shows the help of a command, as its flag --help does."
	help.Use, help.Example = "help [COMMAND]", "  lpbuild help build\n  lpbuild help ulp trigger"
	help.Run = nil
	help.RunE = func(_ *cobra.Command, args []string) error {
		topic, rest, err := root.Find(args)
		if err != nil || len(rest) > 0 {
			text := fmt.Sprintf("there is no command %q", strings.Join(append([]string{root.Name()}, args...), " "))
			if topic == nil {
				topic, rest = root, args
			}
			return &usageError{unknownCommand(topic, rest[0], text), root.Name()}
		}
		topic.InitDefaultHelpFlag()
		return topic.Help()
	}
}

// wrapUsage marks wrong arguments as errors of the command line.
func wrapUsage(cmd *cobra.Command) {
	cmd.Long = strings.TrimSpace(cmd.Long) // in the source, the text begins on a line of its own
	check := cmd.Args
	if check == nil {
		check = noArguments
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if err == nil {
			err = noneEmpty(cmd)
		}
		if err != nil {
			return &usageError{err, cmd.CommandPath()}
		}
		return nil
	}
	for _, sub := range cmd.Commands() {
		wrapUsage(sub)
	}
}

// noneEmpty refuses -p "" and -u "", which a script writes when its variable is not set: they would
// mean all processes.
func noneEmpty(cmd *cobra.Command) error {
	for _, name := range []string{"process", "user"} {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed && f.Value.String() == "" {
			return fmt.Errorf("--%s must not be empty: without it, all processes are meant", name)
		}
	}
	return nil
}

// needs refuses a command line with fewer than n arguments, and names what is missing.
func needs(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < n {
			return fmt.Errorf("%s is required", what)
		}
		return nil
	}
}

// hold keeps other runs of lpbuild out of the package folder until release is called, and waits for them first. A folder that
// cannot be opened is for those who read it to complain about.
func (g *globalOptions) hold(ctx context.Context, s *console) (release func(), err error) {
	release, err = dirlock.Acquire(ctx, filepath.Clean(g.dir), func() {
		progress.Func(s.progress).Warn("lock", "waiting for another lpbuild that works in this folder")
	})
	if err != nil && ctx.Err() == nil {
		return func() {}, nil
	}
	return release, err
}

// command is what to type for a command about the same package directory.
func (g *globalOptions) command(words ...string) string {
	command := []string{"lpbuild"}
	if filepath.Clean(g.dir) != "." {
		command = append(command, "-C", g.dir)
	}
	return shellword.Join(append(command, words...)...)
}

// config reads the package folder's configuration.
func (g *globalOptions) config() (*buildmatrix.Config, error) {
	if g.dir == "" {
		return nil, &usageError{errors.New("--dir is empty"), "lpbuild"}
	}
	return buildmatrix.LoadConfig(filepath.Clean(g.dir))
}
