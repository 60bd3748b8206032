package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/shellword"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix"
	"github.com/lpbuild/lpbuild/pkg/obs"
	"github.com/lpbuild/lpbuild/pkg/spec"
)

func newDist(s *console.Console, g *globalOptions) *cobra.Command {
	var checkout string
	cmd := &cobra.Command{
		Use:   "dist",
		Short: "Write the source package: spec file, source archive and changes file",
		Long: `
Writes dist/NAME.spec, dist/NAME-VERSION.tar.xz, dist/NAME.changes and dist/NAME-rpmlintrc.

The archive contains everything that "lpbuild build" needs: configuration, lock, catalogue and
sources. Everything is built first, for every architecture in lpbuild.yaml, so that nothing is
distributed that does not build. This is quick if nothing has changed. The same inputs give the
same bytes, wherever and whenever it runs; timestamps are those of the newest changes entry. If it
fails, the previous source package stays as it was.

With --obs, a checkout of the Open Build Service (made by "osc checkout", or by "git clone" for a
package managed in git) is updated, too, and osc or git is told about added and removed files.
Committing is left to you. Files that lpbuild did not write are kept. An entry that only the
checkout's changes file has is an error. If there are many builds, the service makes several
packages, on as many workers as it has: _multibuild has a flavor for each group of "flavor-builds"
(default 64) builds, and _constraints asks for workers that are large enough:

  obs:
    flavor-builds: 20` +
			console.Exits(map[int]string{
				console.ExitError: "an error, or a live patch was refused"},
				console.ExitError, console.ExitUnsupported, console.ExitInterrupted),
		Example: "  lpbuild dist\n  lpbuild dist --obs ~/obs/home:jane/glibc-livepatches\n" +
			"  rpmbuild -ba --nodeps --define \"_sourcedir $PWD/dist\" dist/glibc-livepatches.spec",
		Args: console.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDist(cmd.Context(), s, g, checkout)
		},
	}
	cmd.Flags().StringVar(&checkout, "obs", "",
		"`CHECKOUT` update this checkout of the Open Build Service")
	return cmd
}

func runDist(ctx context.Context, s *console.Console, g *globalOptions, dir string) error {
	var checkout *obs.Checkout
	if dir != "" {
		var err error
		if checkout, err = obs.Open(ctx, dir); err != nil {
			return err
		}
	}
	release, err := g.hold(ctx, s)
	if err != nil {
		return err
	}
	defer release()
	in, err := runBuild(ctx, s, g, buildOptions{}, false)
	if err != nil {
		return err
	}
	d, err := spec.Make(ctx, in.config, in.lock, in.report)
	if err != nil {
		return err
	}
	var update *obs.Update
	if checkout != nil {
		groups, most := buildmatrix.Flavors(in.config, in.lock)
		update, err = checkout.Update(ctx, obs.Source{Name: in.config.Name, Dist: d, Groups: groups,
			Builds: most}, obs.Options{})
		if err != nil {
			return err
		}
	}
	if err := printDist(s, in, d, update); err != nil {
		return err
	}
	s.Next(afterDist(g, d, checkout, update))
	return nil
}

// afterDist returns the commands that follow dist: build the package, or commit and submit it. It
// is "" if the checkout is up to date, or if other commands come first.
func afterDist(g *globalOptions, d *spec.Dist, c *obs.Checkout, u *obs.Update) string {
	switch {
	case u == nil:
		sources := filepath.Dir(d.Spec)
		if abs, err := filepath.Abs(sources); err == nil {
			sources = abs
		}
		return shellword.Join("rpmbuild", "-ba", "--define", "_sourcedir "+sources, d.Spec)
	case len(u.Todo) > 0, len(u.Added)+len(u.Changed)+len(u.Removed) == 0:
		return ""
	}
	tool := "osc"
	if c.Git {
		tool = "git"
	}
	return fmt.Sprintf("(%s && %s commit) && %s", shellword.Join("cd", c.Dir), tool,
		g.command("submit", "--obs", c.Dir))
}

func printDist(s *console.Console, in *inputs, d *spec.Dist, u *obs.Update) error {
	if s.JSON {
		return s.PrintJSON(struct {
			Spec       string `json:"spec"`
			Archive    string `json:"archive"`
			Changes    string `json:"changes"`
			Rpmlintrc  string `json:"rpmlintrc"`
			Containers int    `json:"containers"`
			Unsigned   bool   `json:"unsigned"`
			OBS        any    `json:"obs,omitempty"`
		}{d.Spec, d.Archive, d.Changes, d.Rpmlintrc, len(in.report.Containers()),
			in.lock.IsUnsigned(), updateJSON(u)})
	}
	for _, name := range []string{d.Spec, d.Archive, d.Changes, d.Rpmlintrc} {
		s.Print("%s\n", name)
	}
	if in.lock.IsUnsigned() {
		s.Print("UNSIGNED: no key verifies these builds.\n")
	}
	if u != nil {
		printUpdate(s, u)
	}
	return nil
}

// updateJSON returns the JSON form of an update of a checkout, nil if there was none.
func updateJSON(u *obs.Update) any {
	if u == nil {
		return nil
	}
	return map[string][]string{
		"added": console.List(u.Added), "changed": console.List(u.Changed),
		"removed": console.List(u.Removed), "kept": console.List(u.Kept),
		"todo": console.List(u.Todo),
	}
}

func printUpdate(s *console.Console, u *obs.Update) {
	for _, l := range []struct {
		what  string
		names []string
	}{{"added", u.Added}, {"changed", u.Changed}, {"removed", u.Removed},
		{"kept as it is", u.Kept}} {
		for _, name := range l.names {
			s.Print("checkout: %s %s\n", l.what, name)
		}
	}
	if len(u.Added)+len(u.Changed)+len(u.Removed) == 0 {
		s.Print("checkout: up to date\n")
	}
	for _, command := range u.Todo {
		s.Print("osc is not installed; in the checkout, run: %s\n", command)
	}
}
