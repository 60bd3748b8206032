package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/dirlock"
	"github.com/lpbuild/lpbuild/internal/enginecli"
	"github.com/lpbuild/lpbuild/internal/shellword"
	"github.com/lpbuild/lpbuild/internal/ulpcli"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
	"github.com/lpbuild/lpbuild/pkg/progress"
)

// globalOptions are the flags of every command.
type globalOptions struct {
	dir string
}

// lpbuild is the engineer's tool.
var lpbuild = console.Program{
	Root: newRoot, Before: ulpcli.CommandFirst,
	Code: func(err error) int {
		if errors.Is(err, pgp.ErrBadSignature) || errors.Is(err, download.ErrOlder) ||
			errors.Is(err, download.ErrStale) {
			return console.ExitSignature
		}
		return 0
	},
	// a scriptlet has no reader for it
	Groups: map[string]console.Group{"ulp": {Report: ulpcli.Report}, "hook": {Tolerant: true}},
}

func run(args []string, s *console.Console) int { return lpbuild.Run(args, s) }

func newRoot(s *console.Console) *cobra.Command {
	var g globalOptions
	root := console.RootCommand(s, &cobra.Command{
		Use:   "lpbuild",
		Short: "Build userspace live patches and apply them to running processes",
		Long: "lpbuild takes a userspace live patch from its source to the customer's running " +
			"processes." +
			console.Exits(nil, console.ExitError, console.ExitSignature, console.ExitUnsupported,
				console.ExitInterrupted),
		Example: "  lpbuild init glibc-livepatches --product SLE-15-SP5 --key vendor.asc " +
			"--repository URL\n" +
			"  cd glibc-livepatches && lpbuild download && lpbuild build && lpbuild dist\n" +
			"  lpbuild trigger 'build/x86_64/*.so'\n  lpbuild status",
	})
	root.PersistentFlags().StringVarP(&g.dir, "dir", "C", ".", "`DIR` package directory")
	console.AddGroup(root, "package", "In a package directory (made by init):",
		newInit(s), newDownload(s, &g), newBuild(s, &g), newDist(s, &g), newSubmit(s, &g),
		newChanges(s, &g), newClean(s, &g))
	console.AddGroup(root, "processes", "Running processes:", enginecli.NewTrigger(s),
		enginecli.NewRevert(s), enginecli.NewStatus(s))
	console.AddGroup(root, "rpm", "Called by RPM packages:", newInstall(s, &g),
		enginecli.NewHook(s))
	console.AddGroup(root, console.OtherGroup, "Other:", ulpcli.New(s), newDemo(s), newSchema(s),
		console.NewVersion(s), newGenerate(s))
	console.FinishRoot(root)
	return root
}

// hold locks the package directory until release is called, waiting for other runs of lpbuild. A
// directory that cannot be opened is not an error here: reading its files reports it.
func (g *globalOptions) hold(ctx context.Context, s *console.Console) (release func(), err error) {
	release, err = dirlock.Acquire(ctx, filepath.Clean(g.dir), func() {
		progress.Func(s.Progress).Warn("lock", "waiting for another lpbuild in this directory")
	})
	if err != nil && ctx.Err() == nil {
		return func() {}, nil
	}
	return release, err
}

// command returns the command line for another command in the same package directory.
func (g *globalOptions) command(words ...string) string {
	command := []string{"lpbuild"}
	if filepath.Clean(g.dir) != "." {
		command = append(command, "-C", g.dir)
	}
	return shellword.Join(append(command, words...)...)
}

// config reads the configuration of the package directory.
func (g *globalOptions) config() (*config.Config, error) {
	if g.dir == "" {
		return nil, console.Usage(errors.New("--dir is empty"), "lpbuild")
	}
	return config.Load(filepath.Clean(g.dir))
}
