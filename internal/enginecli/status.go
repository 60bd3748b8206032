package enginecli

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

type statusOptions struct {
	process, user string
	engineOptions
	all bool
}

// NewStatus returns the command status.
func NewStatus(s *console.Console) *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:        "status",
		Args:       console.NoArguments,
		SuggestFor: []string{"list", "ps", "show"},
		Short:      "Show which processes can be live patched, and what is applied",
		Long: `
Lists the running processes that can be live patched: those with libpulp.so, and those with a
library whose functions have NOPs at their entries. For each it shows the builds of these
libraries, the live patches that are applied, by whichever engine, and whether it takes further
ones. Processes whose libraries have no NOPs, but functions that live patches with "entries: any"
can replace, are counted; --all lists them and all others.

A live patch that was reverted while a thread was in it, or that an engine was killed before it
switched to, is listed as not in use. So is other memory that a killed engine left. It stays until
the next change or "lpbuild revert --leftovers".

Probes at the beginning of functions are listed: uprobes, by name where tracefs is mounted, and
breakpoints of debuggers. Such a function cannot be patched until its probe is removed.

The command only reads. It stops no process, and seccomp filters can only be read while a process
is stopped: a process with such filters is shown as unknown, as it is by "lpbuild trigger
--dry-run".

EXIT STATUS
  0    success
  1    the processes could not be examined, or no process matches -p or -u
  2    wrong usage
  130  interrupted`,
		Example: "  lpbuild status\n  lpbuild status -p 'nginx*'\n" +
			"  lpbuild status --all --json | jq '.processes[].pid'",
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.process, "process", "p", "", ProcessUsage)
	flags.StringVarP(&o.user, "user", "u", "", UserUsage)
	flags.BoolVarP(&o.all, "all", "a", false, "also list all other processes")
	CompleteProcesses(cmd)
	o.addFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return o.run(cmd.Context(), cmd.CommandPath(), s)
	}
	return cmd
}

func (o *statusOptions) run(ctx context.Context, command string, s *console.Console) error {
	selector, err := engine.ParseSelector(o.process, o.user)
	if err != nil {
		return console.Usage(err, command)
	}
	engines, err := o.engines(command)
	if err != nil {
		return err
	}
	list, denied, err := engine.Look(ctx, engine.SurveyOptions{Selector: selector,
		Engines: engines, WithoutEngine: o.all, Stock: true})
	if err != nil {
		return err
	}
	var missing error
	if len(list) == 0 && denied == 0 {
		missing = mustMatch(ctx, selector, o.process, o.user)
	}
	var shown []*engine.Survey
	if p := unpatchable(ctx, selector.PID); p != nil && len(list) == 0 {
		shown = append(shown, p)
	}
	for _, p := range list {
		other := len(p.Elsewhere) + len(p.Kept) + len(p.Probes) + p.Left.Mappings
		if p.Stock && other == 0 && !o.all && selector.PID == 0 {
			continue
		}
		if p.Engine != "" || p.Err != nil || p.Disabled != nil || len(p.Libraries) > 0 ||
			selector.PID != 0 {
			shown = append(shown, p)
		}
	}
	if s.JSON {
		out := statusJSON{Processes: []SurveyJSON{}, Denied: denied, processCounts: countAll(list)}
		for _, p := range shown {
			out.Processes = append(out.Processes, NewSurveyJSON(p))
		}
		return cmp.Or(s.PrintJSON(out), missing)
	}
	if missing == nil {
		printStatus(s, shown, countAll(list), denied)
	}
	return missing
}

// unpatchable describes a process that runs no program, and therefore is in no survey; nil if it
// does run one, or if pid is 0.
func unpatchable(ctx context.Context, pid int) *engine.Survey {
	if pid == 0 {
		return nil
	}
	p, err := process.Look(ctx, pid, process.Options{})
	switch {
	case err != nil: // which the survey has reported
		return nil
	case p.Kernel:
		err = errors.New("a kernel thread, which runs no program")
	case !p.Alive():
		err = errors.New("a zombie: it has ended, and its parent has not waited for it")
	default:
		return nil
	}
	return &engine.Survey{PID: p.PID, Name: p.Name, ShortName: p.Name, UID: p.UID.Real,
		Disabled: err}
}

type statusJSON struct {
	Processes []SurveyJSON `json:"processes"`
	Denied    int          `json:"not_permitted"`
	processCounts
}

// processCounts counts processes, including those that are not listed.
type processCounts struct {
	Takes int `json:"can"`     // take live patches, or have some
	Stock int `json:"can_any"` // of these, those that take only live patches with "entries: any"
	// none of these: seccomp filters are only read while they are stopped
	Unsure  int `json:"unsure"`
	Patched int `json:"patched"`  // have some
	Left    int `json:"leftover"` // have memory that a killed engine left
}

func countAll(list []*engine.Survey) (c processCounts) {
	for _, p := range list {
		switch {
		case p.Takes() || p.Patched():
			c.Takes++
			if p.Stock && p.Takes() {
				c.Stock++
			}
		case p.Disabled == nil && p.Unsure != nil && !p.Bare():
			c.Unsure++
		}
		if p.Patched() {
			c.Patched++
		}
		if p.Left.Mappings > 0 {
			c.Left++
		}
	}
	return c
}

// printStatus prints a table: a line for each library of a process and each live patch on it.
func printStatus(s *console.Console, list []*engine.Survey, c processCounts, denied int) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "PID\tPROCESS\tENGINE\tSTATE\tLIBRARY\tBUILD\tLIVE PATCH\tSINCE")
	for _, p := range list {
		for i, row := range statusRows(p) {
			if i > 0 {
				row[0], row[1], row[2], row[3] = "", "", "", ""
			}
			fmt.Fprintln(w, strings.Join(row, "\t"))
		}
	}
	if len(list) > 0 {
		_ = w.Flush() // to memory
		for line := range strings.Lines(b.String()) {
			s.Print("%s\n", strings.TrimRight(line, " \n"))
		}
	}
	s.Print("%s can be live patched, %d patched\n", console.Plural(c.Takes, "process"), c.Patched)
	if c.Stock > 0 {
		s.Print("%s, by live patches with \"entries: any\" only\n", of(c.Stock, c.Takes))
	}
	if c.Unsure > 0 {
		s.Print("%s\n", unsureLine(c.Unsure))
	}
	if c.Left > 0 {
		s.Print("%s memory that a killed engine left: lpbuild revert --leftovers\n",
			pluralHas(c.Left))
	}
	if denied > 0 {
		s.Print("%s\n", deniedLine(denied, os.Geteuid() == 0))
	}
}

// unsureLine counts the processes that a dry run reports as unknown, too.
func unsureLine(n int) string {
	if n == 1 {
		return "1 process is unknown: its seccomp filters can only be read while it is stopped, " +
			"and may forbid patching"
	}
	return console.Plural(n, "process") +
		" are unknown: their seccomp filters can only be read while they are stopped, and may " +
		"forbid patching"
}

// of returns a part of a whole in words.
func of(n, all int) string {
	if n == all {
		return "all of them"
	}
	return fmt.Sprintf("%d of them", n)
}

func pluralHas(n int) string {
	if n == 1 {
		return "1 process has"
	}
	return console.Plural(n, "process") + " have"
}

// statusRows are the lines of a process, whose first four columns are the same.
func statusRows(p *engine.Survey) [][]string {
	engine := p.Engine
	if p.Version != "" {
		engine += " " + console.PrintableLine(p.Version)
	}
	if engine == "" {
		engine = "-"
	}
	head := func(rest ...string) []string {
		return append([]string{fmt.Sprint(p.PID), console.PrintableLine(p.Name), engine,
			stateWord(p)}, rest...)
	}
	var rows [][]string
	for _, l := range p.Libraries {
		if l.Engine && len(l.Applied) == 0 {
			continue
		}
		name, build := console.PrintableLine(l.Name), shortBuild(l.BuildID)
		for _, a := range l.Applied {
			rows = append(rows, head(name, build, livePatch(p, a), since(a)))
			name, build = "", ""
		}
		if len(l.Applied) == 0 {
			rows = append(rows, head(name, build, "-", ""))
		}
	}
	for _, a := range p.Elsewhere {
		rows = append(rows, head(console.PrintableLine(a.Library), "(not loaded)", livePatch(p, a),
			since(a)))
	}
	for _, a := range p.Kept {
		rows = append(rows, head(console.PrintableLine(a.Library), shortBuild(a.BuildID),
			console.PrintableLine(path.Base(a.Container))+" (not in use, still in memory)", ""))
	}
	if l := p.Left; l.Mappings > 0 {
		rows = append(rows, head("-", "", fmt.Sprintf("(left by a killed engine: %s, %d KiB)",
			console.Plural(l.Mappings, "mapping"), l.Size>>10), ""))
	}
	for _, probe := range p.Probes {
		rows = append(rows, head(console.PrintableLine(probe.Library), shortBuild(probe.BuildID),
			probeWords(probe), ""))
	}
	if p.ProbesErr != nil {
		rows = append(rows, head("-", "", "(probes: unknown: "+unnamed(p.PID, p.ProbesErr)+")", ""))
	}
	switch {
	case len(rows) > 0:
	case p.Stock:
		rows = append(rows, head("(entries: any)", "", "-", ""))
	default:
		rows = append(rows, head("-", "", "", ""))
	}
	return rows
}

// probeWords describes a probe.
func probeWords(p engine.Probe) string {
	what, note := "a probe is set at", ": it cannot be changed"
	switch {
	case p.Event != "" && p.Set:
		what = "uprobe " + console.PrintableLine(p.Event) + " is set at"
	case p.Event != "":
		what, note = "uprobe "+console.PrintableLine(p.Event)+" is defined at", ", and not enabled"
	}
	return fmt.Sprintf("(%s %s%s)", what, console.PrintableLine(p.Function), note)
}

// livePatch names a live patch, and its engine if that is not the one that the process would get.
func livePatch(p *engine.Survey, a engine.Applied) string {
	name := console.PrintableLine(path.Base(a.Container))
	if a.Engine != p.Engine {
		name += " (" + a.Engine + ")"
	}
	return name
}

// stateWord describes whether a process takes live patches.
func stateWord(p *engine.Survey) string {
	switch err := p.Disabled; {
	case p.Err != nil:
		return "unknown: " + unnamed(p.PID, p.Err)
	case p.Engine == "" && err != nil:
		return "no engine: " + unnamed(p.PID, err)
	case p.Engine == "":
		return "no engine"
	case err == nil && (p.Bare() || p.Unsure == nil && !p.Takes() && len(p.Kept) == 0):
		return "nothing to replace"
	case err == nil && p.Unsure != nil:
		return "unknown: seccomp filters"
	case err == nil:
		return "enabled"
	case errors.Is(err, engine.ErrFrozen):
		return "frozen"
	case errors.Is(err, tracer.ErrTraced):
		return "traced"
	case errors.Is(err, engine.ErrBlocked):
		return "disabled by user"
	case errors.Is(err, engine.ErrNotReady):
		return "starting"
	default:
		return "disabled: " + unnamed(p.PID, err)
	}
}

// shortBuild returns the beginning of a build-id, which suffices to tell builds apart.
func shortBuild(id []byte) string {
	if len(id) == 0 {
		return "-"
	}
	return hex.EncodeToString(id[:min(len(id), 6)])
}

func since(a engine.Applied) string {
	if a.Time.IsZero() {
		return ""
	}
	return a.Time.Local().Format("2006-01-02 15:04:05")
}
