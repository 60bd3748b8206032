package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/shellword"
	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/obs"
	"github.com/lpbuild/lpbuild/pkg/spec"
)

type submitOptions struct {
	checkout string
	request  obs.Request
	yes      bool
}

func (o *submitOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.checkout, "obs", "",
		"`CHECKOUT` checkout that \"lpbuild dist --obs\" has updated")
	f.StringVarP(&o.request.Message, "message", "m", "",
		"`TEXT` message to the reviewers (default: the newest changes entry)")
	f.StringVar(&o.request.ReleaseProject, "release-project", "",
		"`PROJECT` release the update to this project\n"+
			"(default: that of lpbuild.yaml, or the one that the package was branched from)")
	f.StringVar(&o.request.IncidentProject, "incident-project", "",
		"`PROJECT` project for incidents (default: that of lpbuild.yaml, or of the service)")
	f.StringVar(&o.request.Incident, "incident", "",
		"`NUMBER` merge into this incident (default: a new one)")
	f.StringVar(&o.request.Supersede, "supersede", "", "`NUMBER` supersede this request")
	f.BoolVar(&o.request.NoCleanup, "no-cleanup", false,
		"keep the source project when the request is accepted")
	f.BoolVarP(&o.yes, "yes", "y", false, "submit without asking")
}

func newSubmit(s *console.Console, g *globalOptions) *cobra.Command {
	var o submitOptions
	cmd := &cobra.Command{
		Use:   "submit --obs CHECKOUT",
		Short: "Request a maintenance update: show the osc command and run it on confirmation",
		Long: `
Creates a maintenance request from a checkout of the Open Build Service that contains the last
source package. The checkout must be committed: the request is about what the service has.

The command is shown first, and run only if you confirm it at the terminal, or with --yes.
Passwords are left to osc: none is read, passed on or printed. For a package managed in git, the
git and git-obs commands are shown and not run. Defaults come from lpbuild.yaml:

  obs:
    release-project: SUSE:SLE-15-SP5:Update
    incident-project: SUSE:Maintenance` +
			console.Exits(nil, console.ExitError, console.ExitInterrupted),
		Example: `  lpbuild dist --obs ~/obs/home:jane:branches/glibc-livepatches
  (cd ~/obs/home:jane:branches/glibc-livepatches && osc commit)
  lpbuild submit --obs ~/obs/home:jane:branches/glibc-livepatches \
      --release-project SUSE:SLE-15-SP5:Update`,
		Args: console.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runSubmit(cmd.Context(), s, g, o)
		},
	}
	o.addFlags(cmd)
	return cmd
}

func runSubmit(ctx context.Context, s *console.Console, g *globalOptions, o submitOptions) error {
	if o.checkout == "" {
		return console.Usage(errors.New("--obs is required"), "lpbuild submit")
	}
	config, err := g.config()
	if err != nil {
		return err
	}
	o.request.ReleaseProject = cmp.Or(o.request.ReleaseProject, config.OBS.ReleaseProject)
	o.request.IncidentProject = cmp.Or(o.request.IncidentProject, config.OBS.IncidentProject)
	if err := obs.CheckDist(spec.Paths(config), o.checkout); err != nil {
		return err
	}
	if o.request.Message == "" {
		entries, err := spec.ReadChanges(spec.Paths(config).Changes)
		if err != nil {
			return err
		}
		o.request.Message = entries[0].Text
	}
	checkout, err := obs.Open(ctx, o.checkout)
	if err != nil {
		return err
	}
	if checkout.Git {
		return o.showGit(ctx, s, checkout, spec.Paths(config))
	}
	args, err := checkout.Args(o.request)
	if err != nil {
		return err
	}
	if err := checkout.Check(ctx, spec.Paths(config), obs.Options{}); err != nil {
		return err
	}
	return o.submit(ctx, s, checkout, shellword.Join(append([]string{"osc"}, args...)...))
}

// showGit prints the commands for a git checkout and runs none: remote and branch are a convention
// of the repository.
func (o submitOptions) showGit(ctx context.Context, s *console.Console, c *obs.Checkout,
	d *spec.Dist) error {
	commands, err := c.GitCommands(ctx, d, o.request)
	if err != nil {
		return err
	}
	if o.yes {
		return fmt.Errorf("not submitted: lpbuild runs no commands in a git checkout: in %s, "+
			"run: %s", c.Dir, strings.Join(commands, " && "))
	}
	if s.JSON {
		return s.PrintJSON(map[string][]string{"commands": commands})
	}
	s.Print("in %s, run:\n", diag.Printable(c.Dir))
	for _, command := range commands {
		s.Print("%s\n", diag.Printable(command))
	}
	return nil
}

// submit prints the command, and runs it once it is confirmed.
func (o submitOptions) submit(ctx context.Context, s *console.Console, c *obs.Checkout,
	command string) error {
	if !s.JSON {
		s.Print("in %s:\n%s\n", diag.Printable(c.Dir), diag.Printable(command))
	}
	var terminal *os.File // answers osc's own questions
	if !o.yes {
		if !console.IsTerminal(os.Stdin) || s.JSON {
			return fmt.Errorf("not submitted: there is no terminal to confirm it at: use --yes, "+
				"or run in %s: %s", c.Dir, command)
		}
		if err := confirm(ctx, s, "Run it?"); err != nil {
			return err
		}
		terminal = os.Stdin
	}
	number, err := c.Submit(ctx, o.request, obs.Options{}, terminal, s.Err)
	if err != nil {
		return err
	}
	if s.JSON {
		return s.PrintJSON(map[string]string{"command": command, "request": number})
	}
	s.Print("submitted: request %s\n", cmp.Or(number, "(see above)"))
	return nil
}

// errNo means that the user did not answer yes.
var errNo = errors.New("not submitted: the answer was not yes")

// confirm asks a question at the terminal. Any answer except yes is errNo.
func confirm(ctx context.Context, s *console.Console, question string) error {
	fmt.Fprintf(s.Err, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case line := <-answer:
		if line != "y" && line != "yes" {
			return errNo
		}
		return nil
	}
}
