package enginecli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/program"
	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/hook"
)

// hookExitHelp is the exit status of commands that scriptlets call.
const hookExitHelp = `

EXIT STATUS
  0    otherwise, even if no process could be patched: a scriptlet must not fail a transaction
  2    the command line cannot be parsed: an unknown command or flag, a missing or malformed value,
       or a wrong number of arguments`

// hookOptions are the options of all hook commands.
type hookOptions struct {
	engineOptions
	deadline time.Duration
	process  string
	dryRun   bool
	worker   bool
}

func (o *hookOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	o.engineOptions.addFlags(cmd)
	o.addStop(cmd)
	flags.DurationVar(&o.deadline, "deadline", hook.DefaultDeadline,
		"`DURATION` let the scriptlet go on after this time, whatever processes do")
	flags.StringVarP(&o.process, "process", "p", "", ProcessUsage)
	CompleteProcesses(cmd)
	flags.BoolVarP(&o.dryRun, "dry-run", "n", false, "show what would be done; stop no process")
	flags.BoolVar(&o.worker, "worker", false,
		"do it in this process, without a guard that keeps the deadline")
	_ = flags.MarkHidden("worker") // the flag is there
}

// hookActions are the commands that scriptlets call, with their help.
var hookActions = []struct {
	action             hook.Action
	short, long, usage string
}{
	{
		hook.Install, "Apply the live patches of a package that was installed (%post)",
		"Applies the live patches of a package to running processes. " +
			"Those of an earlier or later version are\n" +
			"reverted under the same stop.",
		"  lpbuild hook install glibc-livepatches 0.4 libc.so.6 1",
	}, {
		hook.Remove, "Revert the live patches of a package that is erased (%preun)",
		"Reverts the live patches of the package if COUNT is 0 " +
			"and /etc/sysconfig/livepatching has\n" +
			"LIVEPATCH_REVERT_ON_REMOVE=yes.",
		"  lpbuild hook remove glibc-livepatches 0.4 libc.so.6 0",
	}, {
		hook.MoveLibs, "Let new processes use the library of a new snapshot before the reboot " +
			"(%post)",
		`In a transactional update, copies the library of the new snapshot to /var/livepatches
of the running system and makes ld.so use the copy, if the package has a live patch for the
running build of the library and none for the new one. A program is started with the copy first,
to make sure that it works. The copy is removed after the next boot.`,
		"  TRANSACTIONAL_UPDATE=true lpbuild hook movelibs glibc-livepatches 0.4 libc.so.6 1",
	}, {
		hook.RemoveLibs, "Undo movelibs (%postun)",
		"Removes the copy that movelibs made for this version, or for any version if COUNT is " +
			"0, and makes\n" +
			"ld.so forget it.",
		"  lpbuild hook removelibs glibc-livepatches 0.4 libc.so.6 0",
	},
}

// NewHook returns the command hook, whose commands scriptlets call.
func NewHook(s *console.Console) *cobra.Command {
	var o hookOptions
	cmd := &cobra.Command{
		Use:   "hook",
		Short: "Commands for the scriptlets of live patch packages",
		Long: `
The commands that the scriptlets of live patch packages call, through rpm-helper and the RPM
macros %ulp_post_hook, %ulp_preun_hook, %ulp_post_move_libs and %ulp_post_remove_libs. COUNT is
RPM's $1. They exit with 0 within the deadline. They print one line for scripts, and at most ten
more that name the processes left unpatched, with the reason. The whole report goes into the
journal (identifier lpbuild-hook) or, where there is none, into /var/log/lpbuild/hook.log.

A process is patched if it sees the live patches where the package has them: a transaction in a
chroot leaves the host's processes alone. A process outside that has the library in memory, as a
container may, is counted as skipped and named. Nothing is done in a build root, without /proc, or
with the /proc of another PID namespace. In a transactional update (TRANSACTIONAL_UPDATE=true),
the live patches are put into /var/livepatches of the running system, and applied from there until
the next boot.

/etc/sysconfig/livepatching is read, never run:
  LIVEPATCH_<NAME>=auto|always|never   whether the live patches of a package are applied.
                                       NAME is GLIBC_LIVEPATCHES or GLIBC for glibc-livepatches,
                                       and USERSPACE for all packages. always: in any chroot, as
                                       in a transactional update
  LIVEPATCH_DEADLINE=45s               default of --deadline
  LIVEPATCH_ENGINE=auto|pulp|native    default of --engine
  LIVEPATCH_CONSISTENCY=none|functions default of --consistency
  LIVEPATCH_SECCOMP=obey|suspend       default of --seccomp
  LIVEPATCH_MAX_STOP=500ms             default of --max-stop
  LIVEPATCH_REVERT_ON_REMOVE=yes       revert live patches when their package is erased` +
			hookExitHelp,
		Example: "  lpbuild hook install --dry-run glibc-livepatches 0.4 libc.so.6 1\n" +
			"  lpbuild hook reconcile",
		Args: console.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, a := range hookActions {
		sub := &cobra.Command{
			Use:   string(a.action) + " PACKAGE VERSION LIBRARY COUNT",
			Short: a.short, Long: a.long + hookExitHelp, Example: a.usage,
			Args: cobra.ArbitraryArgs,
			RunE: func(cmd *cobra.Command, args []string) error {
				return o.run(cmd, s, a.action, args)
			},
		}
		o.addFlags(sub)
		cmd.AddCommand(sub)
	}
	reconcile := &cobra.Command{
		Use:   string(hook.Reconcile),
		Short: "Apply installed live patches to processes that lack them (for a timer)",
		Long: `
Applies the newest installed live patches of all packages to the processes that lack them:
processes that were busy when the package was installed, and processes that were started since. It
also removes what transactional updates left in /var/livepatches before the last boot; the booted
snapshot counts, even if it is an older one after a rollback. It prints nothing if there is
nothing to report. lpbuild-reconcile.timer runs it every 15 minutes while live patches are
installed. To stop that, mask the timer.` +
			hookExitHelp,
		Example: "  lpbuild hook reconcile\n  systemctl mask --now lpbuild-reconcile.timer",
		Args:    console.NoArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd, s, hook.Reconcile, args)
		},
	}
	o.addFlags(reconcile)
	cmd.AddCommand(reconcile)
	return cmd
}

// run runs a scriptlet. Whatever happens is printed, and is no error.
func (o *hookOptions) run(cmd *cobra.Command, s *console.Console, action hook.Action,
	args []string) error {
	if action != hook.Reconcile && len(args) != 4 {
		return console.Usage(fmt.Errorf("expected PACKAGE VERSION LIBRARY COUNT, got %d arguments",
			len(args)), cmd.CommandPath())
	}
	if !cmd.Flags().Changed("deadline") {
		o.deadline = hook.ConfiguredDeadline("/")
	}
	if !cmd.Flags().Changed("max-stop") {
		o.maxStop = hook.ConfiguredMaxStop("/")
	}
	if !cmd.Flags().Changed("engine") {
		o.engine = hook.ConfiguredEngine("/")
	}
	if !cmd.Flags().Changed("consistency") {
		o.consistency = hook.ConfiguredConsistency("/")
	}
	if !cmd.Flags().Changed("seccomp") && engine.MaySuspendSeccomp() {
		o.seccomp = hook.ConfiguredSeccomp("/")
	}
	r, err := o.request(cmd, action, args)
	if err != nil {
		fmt.Fprintf(s.Err, "%s hook: %s: nothing is done\n", program.Name(),
			console.PrintableLine(err.Error()))
		return nil
	}
	err = hook.ErrNoWorker
	if !o.worker {
		again := append([]string{"hook", string(action), "--worker"}, o.flags(s)...)
		err = hook.Guard(cmd.Context(), o.deadline, s.Out, append(append(again, "--"), args...)...)
		if err != nil && !errors.Is(err, hook.ErrNoWorker) {
			fmt.Fprintf(s.Err, "%s hook: %s\n", program.Name(), console.PrintableLine(err.Error()))
		}
	}
	if !errors.Is(err, hook.ErrNoWorker) {
		return nil
	}
	return o.work(cmd.Context(), s, r)
}

// flags returns the flags for the worker.
func (o *hookOptions) flags(s *console.Console) []string {
	flags := []string{
		"--deadline=" + hook.WorkerDeadline(o.deadline).String(), "--engine=" + o.engine,
		"--entries=" + o.entries, "--consistency=" + o.consistency, "--seccomp=" + o.seccomp,
		"--max-stop=" + o.maxStop.String(),
	}
	if o.process != "" {
		flags = append(flags, "--process="+o.process)
	}
	if o.dryRun {
		flags = append(flags, "--dry-run")
	}
	if s.JSON {
		flags = append(flags, "--json")
	}
	return flags
}

func (o *hookOptions) request(
	cmd *cobra.Command, action hook.Action, args []string,
) (hook.Request, error) {
	r := hook.Request{
		Action: action, Deadline: o.deadline, MaxStop: o.maxStop, DryRun: o.dryRun,
		Transactional: os.Getenv("TRANSACTIONAL_UPDATE") == "true",
	}
	if o.deadline <= 0 {
		return r, fmt.Errorf("--deadline=%v: must be positive", o.deadline)
	}
	if r.MaxStop == 0 {
		r.MaxStop = -1 // no limit
	}
	var err error
	if r.Engines, err = o.engines(cmd.CommandPath()); err != nil {
		return r, err
	}
	if r.Selector, err = engine.ParseSelector(o.process, ""); err != nil {
		return r, err
	}
	if action == hook.Reconcile {
		return r, nil
	}
	r.Package, r.Version, r.Library = args[0], args[1], args[2]
	if r.Count, err = strconv.Atoi(args[3]); err != nil {
		return r, fmt.Errorf("COUNT %.20q is not a number", args[3])
	}
	return r, nil
}

// work runs the request in this process and prints the outcome.
func (o *hookOptions) work(ctx context.Context, s *console.Console, r hook.Request) error {
	CollectLess()
	out, _ := hook.Run(ctx, r) // what went wrong is in the outcome
	if !r.DryRun {
		if err := out.WriteLog(r); err != nil && len(out.Log) > 0 {
			out.Notes = append(out.Notes,
				"the full report could not be written: "+console.PrintableLine(err.Error()))
		}
	}
	if s.JSON {
		j := hookJSON{DryRun: r.DryRun, Already: out.Summary.Already, Skipped: out.Summary.Skipped,
			Failed:  out.Summary.Failed,
			Late:    out.Summary.Late,
			Nothing: out.Nothing, Lines: console.List(out.Lines())}
		if r.DryRun {
			j.Would = out.Summary.Changed
		} else {
			j.Patched = out.Summary.Changed
		}
		return s.PrintJSON(j)
	}
	nothing := out.Nothing == "" || out.Quiet // to be said
	if r.Action == hook.Reconcile && nothing && out.Summary.Changed == 0 && len(out.Notes) == 0 {
		return nil
	}
	for _, line := range out.Lines() {
		s.Print("%s\n", line)
	}
	return nil
}

// hookJSON is the outcome for a program.
type hookJSON struct {
	DryRun  bool     `json:"dry_run"`
	Patched int      `json:"patched"`
	Would   int      `json:"would_patch"` // by a dry run
	Already int      `json:"already"`
	Skipped int      `json:"skipped"`
	Failed  int      `json:"failed"`
	Late    int      `json:"max_stop_exceeded"`
	Nothing string   `json:"nothing,omitempty"`
	Lines   []string `json:"lines"`
}
