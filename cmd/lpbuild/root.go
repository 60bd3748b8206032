package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/dirlock"
	"github.com/lpbuild/lpbuild/internal/shellword"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
	"github.com/lpbuild/lpbuild/pkg/progress"
)

// globalOptions are the flags of every command.
type globalOptions struct {
	dir string
}

// lpbuild is the engineer's tool.
var lpbuild = Program{
	root: newRoot, before: ulpCommandFirst,
	code: func(err error) int {
		if errors.Is(err, pgp.ErrBadSignature) || errors.Is(err, download.ErrOlder) || errors.Is(err, download.ErrStale) {
			return exitSignature
		}
		return 0
	},
	groups: map[string]group{"ulp": {report: reportUlp}, "hook": {tolerant: true}}, // a scriptlet has nobody who must know
}

func run(args []string, s *console) int { return lpbuild.run(args, s) }

func newRoot(s *console) *cobra.Command {
	var g globalOptions
	root := rootCommand(s, &cobra.Command{
		Use:   "lpbuild",
		Short: "Build userspace live patches and apply them to running processes",
		Long: "lpbuild takes a userspace live patch from its source to the customer's running processes." +
			exits(nil, exitError, exitSignature, exitUnsupported, exitInterrupted),
		Example: "  lpbuild init glibc-livepatches --product SLE-15-SP5 --key vendor.asc --repository URL\n" +
			"  cd glibc-livepatches && lpbuild download && lpbuild build && lpbuild dist\n" +
			"  lpbuild trigger 'build/x86_64/*.so'\n  lpbuild status",
	})
	root.PersistentFlags().StringVarP(&g.dir, "dir", "C", ".", "`DIR` package directory")
	addGroup(root, "package", "In a package directory (made by init):",
		newInit(s), newDownload(s, &g), newBuild(s, &g), newDist(s, &g), newSubmit(s, &g), newChanges(s, &g), newClean(s, &g))
	addGroup(root, "processes", "Running processes:", newTrigger(s), newRevert(s), newStatus(s))
	addGroup(root, "rpm", "Called by RPM packages:", newInstall(s, &g), newHook(s))
	addGroup(root, otherGroup, "Other:", newUlp(s), newDemo(s), newSchema(s), newVersion(s), newGenerate())
	finishRoot(root)
	return root
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
