package ulpcli

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/enginecli"
	"github.com/lpbuild/lpbuild/pkg/engine"
)

type ulpPatchesOptions struct {
	processOptions
	buildID, onlyPatched bool
}

func (u *ulpTool) newPatches() *cobra.Command {
	var o ulpPatchesOptions
	cmd := &cobra.Command{
		Use:   "patches [-p PROCESS] [-b]",
		Short: "List processes with libpulp, their libraries and live patches",
		Long: `
Lists the running processes that have libpulp.so loaded: whether live patching is enabled, which
of their libraries can be patched, and which live patches are applied, with the time and the
numbers of bugs and CVEs. No process is stopped.` +
			ulpExitHelp,
		Example: "  lpbuild ulp patches\n  lpbuild ulp patches -b -p 'nginx*'\n  lpbuild ulp " +
			"patches -p 4711 --json",
	}
	o.addSelector(cmd)
	o.addColor(cmd)
	cmd.Flags().BoolVarP(&o.buildID, "buildid", "b", false, "print build-ids")
	cmd.Flags().BoolVar(&o.onlyPatched, "only-livepatched", false,
		"list only processes with live patches")
	return u.processCommand(cmd, func(args []string) error {
		if len(args) > 0 {
			return said("Too many arguments.")
		}
		return nil
	}, func(cmd *cobra.Command, _ []string) error { return u.runPatches(cmd.Context(), &o) })
}

func (u *ulpTool) runPatches(ctx context.Context, o *ulpPatchesOptions) error {
	selector, err := o.selector()
	if err != nil {
		return err
	}
	list, _, err := engine.Look(ctx, engine.SurveyOptions{Selector: selector,
		Engines: []engine.Engine{&engine.Libpulp{}}})
	if errors.Is(err, engine.ErrNoProcess) || errors.Is(err, engine.ErrNotProcess) {
		u.gathering(err)
		return console.Reported(err)
	}
	if err != nil {
		return err
	}
	var failed error
	shown := []enginecli.SurveyJSON{}
	for _, s := range list {
		if err := unseen(s); err != nil {
			if u.gathering(err); selector.PID != 0 {
				failed = console.Reported(err)
			}
			continue
		}
		if o.onlyPatched && !s.Patched() {
			continue
		}
		if u.s.JSON {
			shown = append(shown, enginecli.NewSurveyJSON(s))
		} else {
			u.printPatches(s, o)
		}
	}
	if u.s.JSON {
		return errors.Join(u.s.PrintJSON(shown), failed)
	}
	return failed
}

// unseen returns why libpulp's tool would not list a process.
func unseen(s *engine.Survey) error {
	switch {
	case s.Err != nil:
		return s.Err
	case s.Engine == "":
		return engine.ErrNoEngine
	case errors.Is(s.Disabled, engine.ErrNotReady):
		return s.Disabled
	}
	return nil
}

// printPatches prints a process as libpulp's tool does.
func (u *ulpTool) printPatches(s *engine.Survey, o *ulpPatchesOptions) {
	var b strings.Builder
	fmt.Fprintf(&b, "PID: %d, name: %s\n", s.PID, console.PrintableLine(s.Name))
	fmt.Fprintf(&b, "  Livepatching status: %s", livepatchingStatus(s, o.colored()))
	b.WriteString("  Livepatchable libraries:\n")
	for _, l := range s.Libraries {
		name := l.Path
		if l.Main {
			name = s.ShortName
		}
		fmt.Fprintf(&b, "    in %s", console.PrintableLine(name))
		if o.buildID {
			fmt.Fprintf(&b, " (%x)", l.BuildID)
		}
		if l.Engine && s.Version != "" {
			fmt.Fprintf(&b, " (version %s)", console.PrintableLine(s.Version))
		}
		b.WriteString(":\n")
		writeApplied(&b, l.Applied)
	}
	for _, a := range s.Elsewhere {
		fmt.Fprintf(&b, "    in %s:\n", console.PrintableLine(a.Library))
		writeApplied(&b, []engine.Applied{a})
	}
	u.s.Print("%s\n", b.String())
}

// livepatchingStatus returns the end of a line. As in libpulp's output, the line ends before the
// color does.
func livepatchingStatus(s *engine.Survey, color bool) string {
	switch {
	case s.Disabled == nil:
		return console.Paint(color, console.Green, "enabled\n")
	case errors.Is(s.Disabled, engine.ErrBlocked):
		return console.Paint(color, console.Yellow, "disabled by user\n")
	}
	text, _ := libpulpText(s.Disabled)
	return console.Paint(color, console.Red,
		"disabled (internal error: "+console.PrintableLine(text)+")\n")
}

// asctime is the layout of asctime(3).
const asctime = "Mon Jan _2 15:04:05 2006"

func writeApplied(b *strings.Builder, list []engine.Applied) {
	for _, a := range list {
		fmt.Fprintf(b, "      livepatch: %s", console.PrintableLine(path.Base(a.Container)))
		if !a.Time.IsZero() {
			fmt.Fprintf(b, " loaded on %s", a.Time.Local().Format(asctime))
		}
		b.WriteString("\n")
		if len(a.Labels) > 0 {
			b.WriteString("        bug labels: ")
			for _, label := range a.Labels {
				b.WriteString(console.PrintableLine(label) + " ")
			}
			b.WriteString("\n")
		}
	}
}
