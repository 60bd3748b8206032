package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/spf13/cobra"

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
numbers of bugs and CVEs. No process is stopped.` + ulpExitHelp,
		Example: "  lpbuild ulp patches\n  lpbuild ulp patches -b -p 'nginx*'\n  lpbuild ulp patches -p 4711 --json",
	}
	o.addSelector(cmd)
	o.addColor(cmd)
	cmd.Flags().BoolVarP(&o.buildID, "buildid", "b", false, "print build-ids")
	cmd.Flags().BoolVar(&o.onlyPatched, "only-livepatched", false, "list only processes with live patches")
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
	list, _, err := engine.Look(ctx, engine.SurveyOptions{Selector: selector, Backends: []engine.Backend{&engine.Libpulp{}}})
	if errors.Is(err, engine.ErrNoProcess) || errors.Is(err, engine.ErrNotProcess) {
		u.gathering(err)
		return errReported{err}
	}
	if err != nil {
		return err
	}
	var failed error
	shown := []surveyJSON{}
	for _, s := range list {
		if err := unseen(s); err != nil {
			if u.gathering(err); selector.PID != 0 {
				failed = errReported{err}
			}
			continue
		}
		if o.onlyPatched && !s.Patched() {
			continue
		}
		if u.s.json {
			shown = append(shown, newSurveyJSON(s))
		} else {
			u.printPatches(s, o)
		}
	}
	if u.s.json {
		return errors.Join(u.s.printJSON(shown), failed)
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
	fmt.Fprintf(&b, "PID: %d, name: %s\n", s.PID, printableLine(s.Name))
	fmt.Fprintf(&b, "  Livepatching status: %s", livepatchingStatus(s, o.colored()))
	b.WriteString("  Livepatchable libraries:\n")
	for _, l := range s.Libraries {
		name := l.Path
		if l.Main {
			name = s.ShortName
		}
		fmt.Fprintf(&b, "    in %s", printableLine(name))
		if o.buildID {
			fmt.Fprintf(&b, " (%x)", l.BuildID)
		}
		if l.Engine && s.Version != "" {
			fmt.Fprintf(&b, " (version %s)", printableLine(s.Version))
		}
		b.WriteString(":\n")
		writeApplied(&b, l.Applied)
	}
	for _, a := range s.Elsewhere {
		fmt.Fprintf(&b, "    in %s:\n", printableLine(a.Library))
		writeApplied(&b, []engine.Applied{a})
	}
	u.s.print("%s\n", b.String())
}

// livepatchingStatus is the end of a line. As in libpulp's output its end comes before the color's.
func livepatchingStatus(s *engine.Survey, color bool) string {
	switch {
	case s.Disabled == nil:
		return paint(color, green, "enabled\n")
	case errors.Is(s.Disabled, engine.ErrBlocked):
		return paint(color, yellow, "disabled by user\n")
	}
	text, _ := libpulpText(s.Disabled)
	return paint(color, red, "disabled (internal error: "+printableLine(text)+")\n")
}

// asctime is the layout of asctime(3).
const asctime = "Mon Jan _2 15:04:05 2006"

func writeApplied(b *strings.Builder, list []engine.Applied) {
	for _, a := range list {
		fmt.Fprintf(b, "      livepatch: %s", printableLine(path.Base(a.Container)))
		if !a.Time.IsZero() {
			fmt.Fprintf(b, " loaded on %s", a.Time.Local().Format(asctime))
		}
		b.WriteString("\n")
		if len(a.Labels) > 0 {
			b.WriteString("        bug labels: ")
			for _, label := range a.Labels {
				b.WriteString(printableLine(label) + " ")
			}
			b.WriteString("\n")
		}
	}
}

// surveyJSON is a process for a program.
type surveyJSON struct {
	PID       int           `json:"pid"`
	Name      string        `json:"name"`
	Exe       string        `json:"exe"`
	UID       uint32        `json:"uid"`
	Container string        `json:"container"`
	Engine    string        `json:"engine"`
	Version   string        `json:"engine_version"`
	Enabled   bool          `json:"enabled"`
	Reason    string        `json:"disabled_because"`
	Unsure    string        `json:"unsure_because"` // only a stop would show whether it can be changed
	Stock     bool          `json:"entries_any"`    // it takes live patches with "entries: any" only
	Libraries []libraryJSON `json:"libraries"`
	Elsewhere []appliedJSON `json:"unloaded_libraries"` // live patches of libraries that are not there any more
	Kept      []appliedJSON `json:"kept"`               // not in use, and still in memory: see engine.Survey.Kept
	Left      int           `json:"leftover_mappings"`
	LeftSize  uint64        `json:"leftover_bytes"`
	Probes    []probeJSON   `json:"probes"`
	ProbesErr string        `json:"probes_unknown"` // why it is not known which there are
	Error     string        `json:"error"`
}

type probeJSON struct {
	Library  string `json:"library"`
	Function string `json:"function"`
	Addr     string `json:"address"`
	Event    string `json:"event"` // of tracefs
	Set      bool   `json:"set"`   // in the process's memory, and not only defined
}

type libraryJSON struct {
	Name    string        `json:"name"`
	Path    string        `json:"path"`
	BuildID string        `json:"build_id"`
	Applied []appliedJSON `json:"applied"`
}

type appliedJSON struct {
	PatchID   string   `json:"patch_id"`
	Library   string   `json:"library"`
	BuildID   string   `json:"build_id"` // of the library; "" if the engine does not know it
	Container string   `json:"container"`
	Time      string   `json:"time"` // RFC 3339; "" if it is not known
	Functions int      `json:"functions"`
	Engine    string   `json:"engine"` // by which it was applied
	Labels    []string `json:"labels"`
}

func newSurveyJSON(s *engine.Survey) surveyJSON {
	j := surveyJSON{
		PID: s.PID, Name: s.Name, Exe: s.Exe, UID: s.UID, Container: s.Container.String(), Engine: s.Engine, Version: s.Version,
		Enabled: s.Engine != "" && s.Disabled == nil && s.Unsure == nil && !s.Bare(), Reason: text(s.Disabled), Error: text(s.Err),
		Unsure: text(s.Unsure), Stock: s.Stock, Left: s.Left.Mappings, LeftSize: s.Left.Size,
		Libraries: []libraryJSON{}, Elsewhere: newAppliedJSON(s.Elsewhere),
		Kept: newAppliedJSON(s.Kept), Probes: []probeJSON{}, ProbesErr: text(s.ProbesErr),
	}
	for _, p := range s.Probes {
		j.Probes = append(j.Probes, probeJSON{p.Library, p.Function, fmt.Sprintf("%#x", p.Addr), p.Event, p.Set})
	}
	for _, l := range s.Libraries {
		j.Libraries = append(j.Libraries, libraryJSON{l.Name, l.Path, hex.EncodeToString(l.BuildID), newAppliedJSON(l.Applied)})
	}
	return j
}

func newAppliedJSON(list []engine.Applied) []appliedJSON {
	out := []appliedJSON{}
	for _, a := range list {
		j := appliedJSON{hex.EncodeToString(a.ID[:]), a.Library, hex.EncodeToString(a.BuildID), a.Container, "", a.Functions, a.Engine, append([]string{}, a.Labels...)}
		if !a.Time.IsZero() {
			j.Time = a.Time.UTC().Format("2006-01-02T15:04:05Z")
		}
		out = append(out, j)
	}
	return out
}

// text is what an error says, "" for none.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
