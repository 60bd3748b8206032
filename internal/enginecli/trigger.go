package enginecli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/shellword"
	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/hook"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// triggerExitHelp is for the commands that change processes.
const triggerExitHelp = `

EXIT STATUS
  0    everything that could be changed is changed, by this run or an earlier one. Processes that
       have the library and were skipped for a reason are listed, and counted as "left" in --json
  1    something failed, a file is not a live patch, the one process that -p names was skipped, or
       processes were not begun: --deadline expired, or they fork faster than they can be changed
  2    wrong usage
  130  interrupted: processes in hand were finished, others not begun`

// Usages of flags that several commands have.
const (
	ProcessUsage = "`PID|NAME` limit to one process, or to names matching a pattern"
	UserUsage    = "`UID|NAME` limit to the processes of one user, or of user names matching a " +
		"pattern"
)

// liveOptions are the options of trigger and revert.
type liveOptions struct {
	process, user string
	engineOptions
	dryRun, recursive bool
	verbose, replace  bool
	leftovers         bool
	all               string
	timeout, deadline time.Duration
}

func (o *liveOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&o.process, "process", "p", "", ProcessUsage)
	flags.StringVarP(&o.user, "user", "u", "", UserUsage)
	o.engineOptions.addFlags(cmd)
	o.addStop(cmd)
	flags.BoolVarP(&o.dryRun, "dry-run", "n", false, "show what would be done; stop no process")
	flags.BoolVar(&o.recursive, "recursive", false, "also match wildcards in subdirectories")
	flags.BoolVarP(&o.verbose, "verbose", "v", false, "also list processes that no file is for")
	flags.DurationVar(&o.timeout, "timeout", 30*time.Second,
		"`DURATION` give up on a process after this time, all attempts included")
	flags.DurationVar(&o.deadline, "deadline", 0,
		"`DURATION` begin no further process after this time (default: no limit)")
}

// engineOptions select the engine, and how it works.
type engineOptions struct {
	engine, entries, consistency, seccomp string
	maxStop                               time.Duration
}

func (o *engineOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.engine, "engine", "auto",
		"`auto|pulp|native` engine to use; auto: pulp if the process has loaded libpulp.so, "+
			"else native")
	flags.StringVar(&o.entries, "entries", "",
		"`nops|any` functions that the native engine may change: those with NOPs at their entry,\n"+
			"or any where that is provably safe (default: what each container says)")
}

// addStop adds the flags of commands that change processes.
func (o *engineOptions) addStop(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&o.maxStop, "max-stop", engine.DefaultMaxStop,
		"`DURATION` stop no process for longer than this; release it and try again (0: no limit)")
	cmd.Flags().StringVar(&o.consistency, "consistency", "none",
		"`none|functions` where threads may be: anywhere, or only outside the replaced functions")
	cmd.Flags().StringVar(&o.seccomp, "seccomp", "obey",
		"`obey|suspend` obey the seccomp filters of a process, or suspend them while it is "+
			"stopped (needs root)")
}

// engines returns the permitted engines, in the order in which they are asked.
func (o *engineOptions) engines(command string) ([]engine.Engine, error) {
	if o.maxStop < 0 {
		return nil, console.Usage(fmt.Errorf("--max-stop=%v: must not be negative", o.maxStop),
			command)
	}
	native := &engine.Native{MaxStop: o.maxStop}
	if o.entries != "" {
		var err error
		if native.Entries, err = symtab.ParseEntries(o.entries); err != nil {
			return nil, console.Usage(fmt.Errorf("--entries: %w", err), command)
		}
	}
	pulp := &engine.Libpulp{MaxStop: o.maxStop}
	switch o.consistency {
	case "none", "": // of a command without the flag
	case "functions":
		pulp.Consistency, native.Consistency = engine.ConsistencyFunctions,
			engine.ConsistencyFunctions
	default:
		return nil, console.Usage(fmt.Errorf("--consistency=%s: must be none or functions",
			o.consistency), command)
	}
	switch o.seccomp {
	case "obey", "": // of a command without the flag
	case "suspend":
		if !engine.MaySuspendSeccomp() {
			return nil, errors.New("--seccomp=suspend needs CAP_SYS_ADMIN, a kernel with " +
				"CONFIG_CHECKPOINT_RESTORE, and no seccomp filter on lpbuild itself")
		}
		pulp.SuspendSeccomp, native.SuspendSeccomp = true, true
	default:
		return nil, console.Usage(fmt.Errorf("--seccomp=%s: must be obey or suspend", o.seccomp),
			command)
	}
	switch o.engine {
	case "auto":
		return []engine.Engine{pulp, native}, nil
	case "pulp", "libpulp":
		return []engine.Engine{pulp}, nil
	case "native":
		return []engine.Engine{native}, nil
	}
	return nil, console.Usage(fmt.Errorf("--engine=%s: must be auto, pulp or native", o.engine),
		command)
}

// NewTrigger returns the command trigger.
func NewTrigger(s *console.Console) *cobra.Command {
	var o liveOptions
	cmd := &cobra.Command{
		Use:        "trigger FILE...",
		Short:      "Apply live patches to running processes",
		SuggestFor: []string{"apply", "patch", "load"},
		Long: `
Applies live patches to running processes. Each FILE is a container, or a quoted wildcard
('DIRECTORY/*.so') for several. Each process gets the containers built for the libraries it has
mapped. --dry-run shows everything that can be decided without stopping a process. Then the
process is stopped once, for microseconds, and all its patches are applied, each wholly or not at
all. A busy process is tried again until --timeout expires. So is one that would be stopped for
longer than --max-stop, which happens if its threads have to wait for a CPU. (On two CPUs, with
twelve processes calling exec in a loop and a load of 35, one stop in a hundred took 146 to 336
ms.) With --replace, other live patches of the same libraries are reverted under the same stop.

A process that was started with libpulp.so (LD_PRELOAD) is patched through it. Any other is
patched by the native engine, which loads the container from outside (x86_64). Functions must have
NOPs at their entries. Where the package says so ("entries: any" in lpbuild.yaml), or with
--entries=any, the native engine also patches functions without NOPs if that is provably safe. The
answer of libpulp.so is final: no other engine is tried where it is disabled, too old or in an
error state. A function that another engine has patched is refused; --engine selects that engine.

Some processes are skipped: those whose owner does not want live patches (LIBPULP_DISABLE_ON_PATH,
LIBPULP_DISABLE_ON_USERS, LIBPULP_DISABLE_ON_GROUPS, "ulp set_patchable disable"; the variables do
not count in a program that runs with other rights than those of the user who started it, such as
a setuid program), 32-bit programs, emulators (valgrind, qemu), and processes that share their
memory with another one permanently (vfork). They keep the library as it is, and the output names
them.

A process with a system call filter (seccomp: browsers, containers, systemd services) is patched
if the filter allows the necessary calls: mmap, munmap and rt_sigreturn for the native engine. If
it does not, the process is skipped, listed with the call that the filter forbids, and counted as
left. With --seccomp=suspend, root lifts the filters of the process for the calls that patching
makes, and no longer. If lpbuild is killed within these microseconds, the process makes such a
call under its filter, which may kill it. Therefore this is not the default.

A call that began before a function was replaced ends in the old one. With
--consistency=functions, either engine changes a process only while no thread is in a function
that is replaced, or in its former code, or has a call of it on its stack. The process is tried
again, less and less often, until --timeout expires. Then a thread and its function are named, and
the process is left as it was. A dry run stops no process, and cannot see this.

Changes that root makes are logged where those of scriptlets are: in the journal (lpbuild-hook), or
in /var/log/lpbuild.` +
			triggerExitHelp,
		Example: `  lpbuild trigger build/x86_64/*.so
  lpbuild trigger --dry-run '/usr/lib64/glibc-livepatches/0.3/*.so'
  lpbuild trigger -p 'nginx*' --replace libc_2.31-150300.63.1_livepatch2.so
  lpbuild trigger --entries=any libc_2.36-9_livepatch1.so
  lpbuild trigger --consistency=functions --timeout 5m libc_2.31-150300.63.1_livepatch2.so
  lpbuild trigger -p 4711 --json libc_livepatch1.so | jq '.processes[0].stop_us'`,
		Args: console.Needs(1, "FILE"),
	}
	o.addFlags(cmd)
	cmd.Flags().BoolVar(&o.replace, "replace", false,
		"revert other live patches of the same libraries under the same stop")
	CompleteProcesses(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return o.run(cmd, s, args, false) }
	return cmd
}

// NewRevert returns the command revert.
func NewRevert(s *console.Console) *cobra.Command {
	var o liveOptions
	cmd := &cobra.Command{
		Use:        "revert FILE... | revert --all LIBRARY | revert --leftovers",
		Short:      "Revert live patches in running processes",
		SuggestFor: []string{"undo", "remove", "unpatch", "unload", "rollback"},
		Long: `
Reverts live patches in running processes: those in the FILEs (containers, or quoted wildcards),
or with --all those of a library, whichever they are. Afterwards the functions of the library are
as they were. Processes in which a live patch is not applied are left alone. A live patch that is
reverted while a thread is in it stays in memory for that thread, and a killed engine leaves
memory that is not in use. A second run frees this memory where it finds nothing else to do; with
--leftovers, it does so in all processes. Everything else is as for "lpbuild trigger".` +
			triggerExitHelp,
		Example: `  lpbuild revert libc_2.31-150300.63.1_livepatch2.so
  lpbuild revert -p 4711 --all libc.so.6
  lpbuild revert --dry-run '/usr/lib64/glibc-livepatches/0.3/*.so'`,
		Args: cobra.ArbitraryArgs,
	}
	o.addFlags(cmd)
	cmd.Flags().BoolVar(&o.leftovers, "leftovers", false,
		"free memory that nothing uses: of killed engines, and of reverted live patches")
	cmd.Flags().StringVar(&o.all, "all", "",
		"`LIBRARY` revert all live patches of this library, such as libc.so.6")
	CompleteProcesses(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case o.leftovers && (o.all != "" || len(args) > 0):
			return console.Usage(errors.New("--leftovers cannot be used with --all or FILEs"),
				cmd.CommandPath())
		case o.all == "" && len(args) == 0 && !o.leftovers:
			return console.Usage(errors.New("a FILE, --all LIBRARY or --leftovers is required"),
				cmd.CommandPath())
		case o.all != "" && len(args) > 0:
			return console.Usage(errors.New("--all and FILEs cannot be used together"),
				cmd.CommandPath())
		}
		return o.run(cmd, s, args, true)
	}
	return cmd
}

func (o *liveOptions) run(cmd *cobra.Command, s *console.Console, args []string,
	revert bool) error {
	ctx := cmd.Context()
	selector, err := engine.ParseSelector(o.process, o.user)
	if err != nil {
		return console.Usage(err, cmd.CommandPath())
	}
	for _, name := range []string{"timeout", "deadline"} {
		if d, err := cmd.Flags().GetDuration(name); err == nil && d < 0 {
			return console.Usage(fmt.Errorf("--%s=%v: must not be negative", name, d),
				cmd.CommandPath())
		}
	}
	engines, err := o.engines(cmd.CommandPath())
	if err != nil {
		return err
	}
	containers, err := o.containers(ctx, args, revert)
	if err != nil {
		return err
	}
	p := &livePrinter{s: s, o: o, revert: revert, one: selector.PID != 0, bad: containers.Bad}
	p.files()
	if len(args) > 0 && len(containers.List) == 0 {
		return console.Reported(errors.New("none of the files is a live patch"))
	}
	CollectLess()
	what := args
	if o.all != "" {
		what = []string{"--all", o.all}
	}
	log := hook.NewManual(cmd.CommandPath()+" "+shellword.Join(what...), revert)
	summary, err := engine.Run(ctx, engine.Options{
		Selector: selector, Engines: engines, Containers: containers, Revert: revert,
		RevertAll: o.all, Replace: o.replace,
		Leftovers: o.leftovers, DryRun: o.dryRun, Timeout: o.timeout, MaxStop: o.maxStop,
		Deadline: o.deadline,
	}, func(r *engine.Report) {
		log.Add(r)
		p.report(r)
	})
	if !o.dryRun {
		// as for scriptlets, what was done counts, and not that it could not be written down
		_ = log.Write("/", summary)
	}
	if err := errors.Join(err, p.finish(summary, err == nil)); err != nil ||
		summary.Processes() > 0 {
		return err
	}
	return mustMatch(ctx, selector, o.process, o.user)
}

// mustMatch returns an error if no process has the given name or user: the process has not started,
// or the name is misspelled.
func mustMatch(ctx context.Context, selector engine.Selector, process, user string) error {
	if selector.Name == nil && selector.User == nil {
		return nil
	}
	if found, err := selector.Matches(ctx); found || err != nil {
		return err
	}
	var options []string
	if process != "" {
		options = append(options, "-p "+shellword.Join(process))
	}
	if user != "" {
		options = append(options, "-u "+shellword.Join(user))
	}
	return fmt.Errorf("no process matches %s", strings.Join(options, " "))
}

// containers reads the files that were named.
func (o *liveOptions) containers(ctx context.Context, args []string,
	revert bool) (*engine.Containers, error) {
	var files []string
	for _, arg := range args {
		if !engine.IsPattern(arg) {
			files = append(files, arg)
			continue
		}
		found, err := engine.Expand(arg, o.recursive)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("no file matches %s", arg)
		}
		files = append(files, found...)
	}
	return engine.ReadContainers(ctx, files, revert)
}
