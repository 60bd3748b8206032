package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/dirlock"
	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix"
	"github.com/lpbuild/lpbuild/pkg/progress"
)

// globalOptions are the flags of every command.
type globalOptions struct {
	dir string
}

func newRoot(s *console) *cobra.Command {
	var g globalOptions
	root := &cobra.Command{
		Use:   "lpbuild",
		Short: "Build userspace live patches and apply them to running processes",
		Long: `lpbuild takes a userspace live patch from its source to the customer's running processes.

In a package folder (made by "lpbuild init"):
  download  brings every released build of the library, verified, and pins it
  build     makes one live patch container for each build, and proves that it fits
  dist      writes the source package for rpmbuild and the Open Build Service
  submit    asks for a maintenance update there

On a machine:
  trigger   applies live patches to running processes, revert takes them out
  status    shows which processes can be patched, and what is applied
  hook      has the commands for the scriptlets of live patch packages` + exitHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Version:       versionLine(),
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.Flags().Bool("version", false, "print version and commit")
	root.SetOut(s.out)
	root.SetErr(s.err)
	flags := root.PersistentFlags()
	flags.StringVarP(&g.dir, "dir", "C", ".", "package `folder`")
	flags.BoolVar(&s.json, "json", false, "print the result as JSON")
	flags.BoolVarP(&s.quiet, "quiet", "q", false, "no progress, only warnings and the result")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &usageError{flagError(err), cmd.CommandPath()} })
	root.AddCommand(
		newInit(s), newDownload(s, &g), newBuild(s, &g), newDist(s, &g), newInstall(s, &g), newClean(s, &g),
		newChanges(s, &g), newSubmit(s, &g), newTrigger(s), newRevert(s), newStatus(s), newHook(s), newDemo(s), newUlp(s), newVersion(s), newGenerate(),
	)
	wrapUsage(root)
	knowTopics(root)
	return root
}

// knowTopics makes help about what is not there an error: cobra shows the usage and ends well.
func knowTopics(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	help, _, err := root.Find([]string{"help"})
	if err != nil {
		return
	}
	help.Run = nil
	help.RunE = func(_ *cobra.Command, args []string) error {
		topic, rest, err := root.Find(args)
		if err != nil || len(rest) > 0 {
			return &usageError{fmt.Errorf("there is no command %q", strings.Join(append([]string{root.Name()}, args...), " ")), root.Name()}
		}
		topic.InitDefaultHelpFlag()
		return topic.Help()
	}
}

// goTexts are what Go's library says of a value, and what a person understands.
var goTexts = []struct {
	found func() *regexp.Regexp
	text  string
}{
	{lazyregexp.New(`strconv\.ParseBool: .*$`), "not true or false"},
	{lazyregexp.New(`strconv\.Parse\w+: parsing "[^"]*": invalid syntax$`), "not a number"},
	{lazyregexp.New(`strconv\.Parse\w+: parsing "[^"]*": value out of range$`), "too large"},
	{lazyregexp.New(`time: .*duration.*$`), "not a time; write 30s or 2m"},
}

// flagError says what is wrong with the value of an option.
func flagError(err error) error {
	for _, t := range goTexts {
		if text := t.found().ReplaceAllLiteralString(err.Error(), t.text); text != err.Error() {
			return errors.New(text)
		}
	}
	return err
}

// wrapUsage marks wrong arguments as errors of the command line.
func wrapUsage(cmd *cobra.Command) {
	check := cmd.Args
	if check == nil {
		check = cobra.NoArgs
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

// config reads the package folder's configuration.
func (g *globalOptions) config() (*buildmatrix.Config, error) {
	if g.dir == "" {
		return nil, &usageError{errors.New("--dir is empty"), "lpbuild"}
	}
	return buildmatrix.LoadConfig(filepath.Clean(g.dir))
}
