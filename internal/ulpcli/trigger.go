package ulpcli

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/enginecli"
	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// maxUlpPath is libpulp's limit for the length of names, in bytes.
const maxUlpPath = 256

type ulpTriggerOptions struct {
	processOptions
	revert, recursive, noSummary, noSeccomp bool
	revertAll, prefix, timeout              string
}

func (u *ulpTool) newTrigger() *cobra.Command {
	var o ulpTriggerOptions
	cmd := &cobra.Command{
		Use:   "trigger [-p PROCESS] [CONTAINER | 'DIRECTORY/*.so']",
		Short: "Apply live patches to running processes, or revert them",
		Long: `
Applies a live patch, or all that match a quoted wildcard, to running processes that have
libpulp.so loaded: to all of them, or to those selected by -p and -u. Each process gets the
containers for the builds of the libraries that it has loaded, all of them under one stop. With
--revert, they are taken out. With --revert-all, everything that is applied to a library is taken
out before the new live patch is applied, and only if that can be applied.

It prints one line for each process, and a line with the counts. With -r N, it tries again while a
process is busy.

EXIT STATUS
  0    every process that should be patched is, or was skipped for a reason
  1    something failed
  64   wrong usage
  130  interrupted: processes in hand were finished, others not begun`,
		Example: `  lpbuild ulp trigger -p 4711 libc_livepatch1.so
  lpbuild ulp trigger --recursive -r 100 --timeout 200 --revert-all=target \
      '/usr/lib64/glibc-livepatches/0.3/*.so'
  lpbuild ulp trigger --revert libc_livepatch1.so`,
	}
	flags := cmd.Flags()
	o.addSelector(cmd)
	o.addRetries(cmd)
	o.addColor(cmd)
	flags.BoolVar(&o.revert, "revert", false, "revert the live patch")
	flags.StringVar(&o.revertAll, "revert-all", "",
		"`LIB` first revert all live patches of this library; \"target\" is the target of the "+
			"live patch")
	enginecli.CompleteProcesses(cmd)
	flags.BoolVar(&o.recursive, "recursive", false, "also match the wildcard in subdirectories")
	flags.StringVar(&o.timeout, "timeout", "200",
		"`SECONDS` wait this long for libpulp.so in a process")
	flags.BoolVar(&o.noSummary, "disable-summarization", false,
		"print a line for each live patch and process")
	flags.BoolVar(&o.noSeccomp, "disable-seccomp", false,
		"suspend seccomp filters during the change (needs CAP_SYS_ADMIN)")
	flags.StringVarP(&o.prefix, "root", "R", "",
		"`PREFIX` prepend this to the container path that the process is given")
	return u.processCommand(cmd, o.checkArgs, func(cmd *cobra.Command, args []string) error {
		return u.runTrigger(cmd.Context(), &o, args)
	})
}

// checkArgs rejects what libpulp rejects.
func (o *ulpTriggerOptions) checkArgs(args []string) error {
	if _, err := seconds(o.timeout); err != nil {
		return err
	}
	switch err := o.checkRetries(); {
	case err != nil:
		return err
	case len(args) > 1:
		return said("Too many arguments.")
	case len(args) == 0 && o.revertAll == "":
		return said("Too few arguments.")
	case o.revert && o.revertAll != "":
		return said("--revert and --revert-all can not be used together.")
	case len(o.revertAll) > maxUlpPath:
		return said("LIB name must be shorter than %d bytes; got %d.", maxUlpPath, len(o.revertAll))
	case len(args) > 0 && len(args[0]) > maxUlpPath:
		return said("METADATA path must be shorter than %d bytes; got %d.", maxUlpPath,
			len(args[0]))
	}
	return nil
}

func (u *ulpTool) runTrigger(ctx context.Context, o *ulpTriggerOptions, args []string) error {
	if o.noSeccomp && !maySuspendSeccomp() {
		return quietError{said("error: disabling seccomp requires CAP_SYS_ADMIN, but user does " +
			"not provide it.\n" +
			"suggestion: run ulp as root.")}
	}
	options, err := u.triggerOptions(ctx, o, args)
	if err != nil {
		return err
	}
	p := newUlpPrinter(u, o)
	enginecli.CollectLess()
	_, err = engine.Run(ctx, options, p.report)
	switch {
	case errors.Is(err, engine.ErrNoProcess), errors.Is(err, engine.ErrNotProcess):
		u.gathering(err)
		return console.Reported(err)
	case err != nil:
		return errors.Join(err, p.finish())
	}
	return p.finish()
}

// triggerOptions reads the containers and returns the options of the run.
func (u *ulpTool) triggerOptions(ctx context.Context, o *ulpTriggerOptions,
	args []string) (engine.Options, error) {
	selector, err := o.selector()
	if err != nil {
		return engine.Options{}, err
	}
	timeout, err := seconds(o.timeout)
	if err != nil {
		return engine.Options{}, err
	}
	files := args
	if len(args) > 0 && engine.IsPattern(args[0]) {
		if files, err = engine.Expand(args[0], o.recursive); err != nil {
			return engine.Options{}, err
		}
		if len(files) == 0 {
			u.say("no file matches %s", args[0])
		}
	}
	containers, err := engine.ReadContainers(ctx, files, o.revert)
	if err != nil {
		return engine.Options{}, err
	}
	for _, bad := range containers.Bad {
		u.debug("%s", bad)
	}
	if o.revertAll != "" {
		o.revertAll = path.Base(o.revertAll)
	}
	return engine.Options{
		Selector: selector, Containers: containers, Revert: o.revert, RevertAll: o.revertAll,
		Engines: []engine.Engine{&engine.Libpulp{Prefix: o.prefix, SuspendSeccomp: o.noSeccomp,
			CallTimeout: timeout}},
		Attempts: o.retries, Timeout: max(timeout, time.Second) + time.Second, Workers: o.workers(),
		Every: u.verbose || o.noSummary, BadFiles: true,
	}, nil
}

// maySuspendSeccomp reports whether this process has CAP_SYS_ADMIN.
func maySuspendSeccomp() bool {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	err := unix.Capget(&header, &data[0])
	return err == nil && data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

// ulpPrinter prints reports as libpulp's tool does, and counts as it does.
type ulpPrinter struct {
	u                        *ulpTool
	o                        *ulpTriggerOptions
	color                    bool
	patched, skipped, failed int
	json                     []enginecli.ProcessJSON
}

func newUlpPrinter(u *ulpTool, o *ulpTriggerOptions) *ulpPrinter {
	return &ulpPrinter{u: u, o: o, color: o.colored(), json: []enginecli.ProcessJSON{}}
}

// report adds the report of one process. Processes without libpulp are ignored, as libpulp's tool
// does, unless they were named.
func (p *ulpPrinter) report(r *engine.Report) {
	if errors.Is(r.Err, engine.ErrNoEngine) {
		if p.o.onePID() != 0 {
			p.u.gathering(r.Err)
			p.skipped++
			p.json = append(p.json, enginecli.NewProcessJSON(r, false))
		}
		return
	}
	p.json = append(p.json, enginecli.NewProcessJSON(r, false))
	if r.Err != nil && !skippable(r.Err) {
		p.u.gathering(r.Err)
		p.failed++
		return
	}
	p.count(r)
	if p.u.verbose {
		p.whyNot(r)
	}
	if !p.u.s.Quiet && !p.u.s.JSON {
		p.print(r)
	}
}

// onePID returns the process that -p names by its number, 0 if it does not.
func (o *processOptions) onePID() int {
	s, err := engine.ParseSelector(o.process, "")
	if err != nil {
		return 0
	}
	return s.PID
}

// skippable reports whether libpulp's tool counts an error as a reason to skip a process.
func skippable(err error) bool {
	for _, e := range []error{engine.ErrBuildID, engine.ErrNotLoaded, engine.ErrBlocked,
		engine.ErrApplied, engine.ErrNoPatches, process.ErrGone} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// irrelevant reports whether an error only means that a container is not for a process.
func irrelevant(err error) bool {
	return errors.Is(err, engine.ErrBuildID) || errors.Is(err, engine.ErrNotLoaded)
}

// verdict is the judgement of libpulp's tool about a result.
type verdict int

const (
	success verdict = iota
	skip
	failure
)

// judge judges a result as libpulp's tool does. A live patch that is to replace itself is a
// success.
func (p *ulpPrinter) judge(r *engine.Result) verdict {
	switch {
	case r.Err == nil, p.o.revertAll != "" && errors.Is(r.Err, engine.ErrApplied):
		return success
	case skippable(r.Err):
		return skip
	}
	return failure
}

// count counts a process as patched if anything succeeded, else as skipped, and also as failed if
// anything failed.
func (p *ulpPrinter) count(r *engine.Report) {
	seen := map[verdict]bool{}
	if r.Err != nil {
		seen[skip] = true
	}
	for _, result := range p.results(r) {
		seen[p.judge(&result)] = true
	}
	switch {
	case seen[success]:
		p.patched++
	case seen[skip]:
		p.skipped++
	}
	if seen[failure] {
		p.failed++
	}
}

// results returns the results that libpulp's tool would have. Reverting everything is a result of
// its own only without a container.
func (p *ulpPrinter) results(r *engine.Report) []engine.Result {
	var list []engine.Result
	for _, result := range r.Results {
		if result.Kind != engine.RevertAll {
			list = append(list, result)
		}
	}
	if len(list) > 0 {
		return list
	}
	return r.Results
}

// print prints a process as libpulp's tool does: on one line if one result matters, else on one for
// each.
func (p *ulpPrinter) print(r *engine.Report) {
	all := p.results(r)
	var matter []engine.Result
	for _, result := range all {
		if !irrelevant(result.Err) {
			matter = append(matter, result)
		}
	}
	head := fmt.Sprintf("  %s (pid: %d):", console.PrintableLine(r.Name), r.PID)
	switch {
	case p.o.noSummary && len(all) > 0:
		matter = all
	case len(matter) == 0:
		return
	case len(matter) == 1:
		p.u.s.Print("%s%s\n", head, p.line(&matter[0], ""))
		return
	}
	p.u.s.Print("%s\n", head)
	for i := range matter {
		p.u.s.Print("%s\n", p.line(&matter[i], "   "))
	}
}

// line formats a result: for the line of its process or, with an indent, for a line of its own.
func (p *ulpPrinter) line(r *engine.Result, indent string) string {
	text, detail := libpulpText(r.Err)
	file := console.PrintableLine(r.File)
	if r.Kind == engine.RevertAll {
		file = "reverted all patches from '" + console.PrintableLine(r.Library) + "'"
	}
	switch p.judge(r) {
	case success:
		return console.Paint(p.color, console.Green, indent+" SUCCESS") + " " + file
	case skip:
		if indent != "" {
			text = file + ": " + text
		}
		return console.Paint(p.color, console.Yellow, indent+" SKIPPED") + " " + text
	}
	if detail != "" && detail != text {
		text += ": " + console.PrintableLine(detail)
	}
	return console.Paint(p.color, console.Red, indent+" FAILED") + " " + file + ": " + text
}

// whyNot prints, for -v, which builds of the targets a process has loaded.
func (p *ulpPrinter) whyNot(r *engine.Report) {
	for _, result := range r.Results {
		build, ok := errors.AsType[*engine.BuildError](result.Err)
		switch {
		case ok:
			p.u.debug("pid = %d, name = %s: livepatch buildid mismatch for %s (%x)", r.PID,
				console.PrintableLine(r.Name), build.Library, build.Has)
			p.u.debug("    expected buildid: %x", build.Want)
		case errors.Is(result.Err, engine.ErrNotLoaded):
			p.u.debug("pid = %d, name = %s: target library (%s) not loaded.", r.PID,
				console.PrintableLine(r.Name), console.PrintableLine(result.Library))
		}
	}
}

// finish prints the line that scripts look for.
func (p *ulpPrinter) finish() error {
	if p.u.s.JSON {
		if err := p.u.s.PrintJSON(struct {
			Processes []enginecli.ProcessJSON `json:"processes"`
			Patched   int                     `json:"patched"`
			Skipped   int                     `json:"skipped"`
			Failed    int                     `json:"failed"`
		}{p.json, p.patched, p.skipped, p.failed}); err != nil {
			return err
		}
	} else if p.patched+p.skipped+p.failed > 0 {
		p.u.s.Print("ulp: Processes patched: %d, Skipped: %d, Failed: %d.\n", p.patched, p.skipped,
			p.failed)
	}
	if p.failed > 0 {
		return console.Reported(errors.New("some processes were not patched"))
	}
	return nil
}
