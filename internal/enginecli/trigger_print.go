package enginecli

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/program"
	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// livePrinter prints reports for a person, or collects them for a program.
type livePrinter struct {
	s      *console.Console
	o      *liveOptions
	revert bool
	one    bool // one process was named by its number
	bad    []*engine.FileError

	list    []ProcessJSON
	remain  []string // privileged processes that were not patched, the first few
	skipped bool     // the one process was skipped
	hints   []string
	remarks remarks // printed in the end, since many processes may have one
}

// files prints which files are not live patches.
func (p *livePrinter) files() {
	for _, bad := range p.bad {
		fmt.Fprintf(p.s.Err, "lpbuild: %s: %s\n", console.PrintableLine(bad.File),
			noMetadata(bad.Err))
	}
}

// noMetadata is why a file is not a live patch.
func noMetadata(err error) string {
	return "not a live patch: " + console.PrintableLine(err.Error())
}

// report adds the report of one process.
func (p *livePrinter) report(r *engine.Report) {
	if p.one && r.Status == engine.Skipped {
		p.skipped = true
	}
	if h := p.hint(r); h != "" && !slices.Contains(p.hints, h) {
		p.hints = append(p.hints, h)
	}
	if r.Remains() && len(p.remain) < maxRemain {
		p.remain = append(p.remain, fmt.Sprintf("%s (%d)", console.PrintableLine(r.Name), r.PID))
	}
	if p.s.JSON {
		p.list = append(p.list, NewProcessJSON(r, p.o.dryRun))
		return
	}
	if r.Status == engine.Skipped && !p.one && !p.o.verbose && !unwanted(r) {
		return
	}
	name := cmp.Or(console.PrintableLine(r.Name), "?")
	if r.Err != nil {
		p.remark(engine.Result{Step: engine.Step{Kind: engine.Apply}, Status: r.Status, Err: r.Err},
			r.PID, name, nil)
		return
	}
	if r.Note != "" && !p.s.Quiet {
		p.remarks.add(fmt.Sprintf("%-13s", "note"), name, r.PID, "", console.PrintableLine(r.Note))
	}
	for i, result := range r.Results {
		switch {
		case result.Err == nil && i == len(r.Results)-1:
			p.line(&result, r.PID, name, r.Stop)
		case result.Err == nil:
			p.line(&result, r.PID, name, 0)
		case !slices.ContainsFunc(r.Results[:i],
			func(other engine.Result) bool { return alike(other, result) }):
			p.remark(result, r.PID, name, r.Results[i+1:])
		}
	}
}

// alike reports whether two results of a process have the same status for the same reason.
func alike(a, b engine.Result) bool {
	return a.Status == b.Status && a.Err != nil && b.Err != nil && a.Err.Error() == b.Err.Error()
}

// remark notes a result that has a reason, with the later results of the process that have the
// same.
func (p *livePrinter) remark(r engine.Result, pid int, name string, later []engine.Result) {
	if p.s.Quiet && r.Status != engine.Failed {
		return
	}
	files := []string{what(&r)}
	for _, other := range later {
		if file := what(&other); alike(r, other) && !slices.Contains(files, file) {
			files = append(files, file)
		}
	}
	p.remarks.add(p.status(&r), name, pid, strings.Join(files, ", "), unnamed(pid, r.Err))
}

// unwanted reports whether a process was skipped although a file is for it, or may be. A person
// wants to know about it.
func unwanted(r *engine.Report) bool {
	if r.Left || r.Foreign {
		return r.Left
	}
	errs := []error{r.Err}
	for _, result := range r.Results {
		errs = append(errs, result.Err)
	}
	return slices.ContainsFunc(errs, func(err error) bool {
		return errors.Is(err, engine.ErrNoEngine) || errors.Is(err, engine.ErrBlocked)
	})
}

// what names the object of a result.
func what(r *engine.Result) string {
	if r.Kind == engine.CleanUp {
		return "unused memory"
	}
	if r.Kind == engine.RevertAll {
		return "all live patches of " + console.PrintableLine(r.Library)
	}
	return console.PrintableLine(r.File)
}

// status is the first column of a line.
func (p *livePrinter) status(r *engine.Result) string {
	word, color := p.word(r.Status, p.revert || r.Kind == engine.RevertAll)
	return console.Paint(console.IsTerminal(p.s.Out) && p.s.Color, color,
		fmt.Sprintf("%-13s", word))
}

// line prints a result without a reason: status, process, file, and how long the process was
// stopped.
func (p *livePrinter) line(r *engine.Result, pid int, name string, stop time.Duration) {
	if p.s.Quiet && r.Status != engine.Failed {
		return
	}
	line := fmt.Sprintf("%s %s (%d)", p.status(r), name, pid)
	if file := what(r); file != "" {
		line += " " + file
	}
	if stop > 0 {
		line += " (" + diag.Duration(stop) + ")"
	}
	p.s.Print("%s\n", line)
}

// unnamed returns the text of an error for a line that already names the process.
func unnamed(pid int, err error) string {
	return console.PrintableLine(strings.ReplaceAll(err.Error(), fmt.Sprintf("process %d: ", pid),
		""))
}

func (p *livePrinter) word(status engine.Status, reverts bool) (word, color string) {
	done, would := "patched", "would patch"
	if p.o.leftovers {
		done, would, reverts = "cleaned up", "would clean up", false
	}
	if reverts {
		done, would = "reverted", "would revert"
	}
	switch {
	case status == engine.Unsure:
		return "unknown", console.Yellow
	case status == engine.Changed && p.o.dryRun:
		return would, console.Green
	case status == engine.Changed:
		return done, console.Green
	case status == engine.Already:
		return "already", ""
	case status == engine.Skipped:
		return "skipped", console.Yellow
	}
	return "failed", console.Red
}

// hint returns advice about a process that was not patched.
func (p *livePrinter) hint(r *engine.Report) string {
	errs := []error{r.Err}
	for _, result := range r.Results {
		errs = append(errs, result.Err)
	}
	err := errors.Join(errs...)
	switch {
	case err == nil:
	case errors.Is(err, engine.ErrNoEngine) && (p.o.engine == "pulp" || p.o.engine == "libpulp"):
		return "use --engine=auto, or start the process with LD_PRELOAD=libpulp.so.0"
	case errors.Is(err, engine.ErrPermission), errors.Is(err, process.ErrPermission):
		return "become root, or the owner of the process; a security module or " +
			"kernel.yama.ptrace_scope may forbid it, too"
	case errors.Is(err, tracer.ErrTraced):
		return "end the debugger or tracer that has the process, and run this again"
	case errors.Is(err, engine.ErrInUse):
		return "a thread may be in a function for as long as it waits there: give it a longer " +
			"--timeout, or patch with --consistency=none"
	case errors.Is(err, engine.ErrForeign):
		return program.Text("\"lpbuild status\" shows what is applied, and by which engine")
	case errors.Is(err, engine.ErrBuildID):
		return "a process runs another build of the library: it needs the container for that build"
	case errors.Is(err, engine.ErrBlocked) && r.Engine == "native":
		return "whoever started the process opted it out of live patches, by that variable or " +
			"by \"ulp set_patchable disable\""
	case errors.Is(err, engine.ErrBlocked):
		return program.Text("\"lpbuild ulp set_patchable enable\" lets a process take live " +
			"patches again")
	case errors.Is(err, tracer.ErrNotStopping), errors.Is(err, engine.ErrDeadline):
		return "a thread that waits uninterruptibly, or for a CPU of a busy machine, does not " +
			"stop in time: run this again later, or with a longer --max-stop or --timeout"
	}
	return ""
}

// finish prints the remarks and the summary, and returns an error if something was not done.
func (p *livePrinter) finish(sum engine.Summary, complete bool) error {
	if p.s.JSON {
		slices.SortFunc(p.list, func(a, b ProcessJSON) int { return a.PID - b.PID })
		if err := p.s.PrintJSON(newRunJSON(p.list, sum, p.bad, p.o.dryRun, complete)); err != nil {
			return err
		}
	} else {
		most := maxRemarked
		if p.o.verbose {
			most = math.MaxInt
		}
		for _, line := range p.remarks.lines(most) {
			p.s.Print("%s\n", line)
		}
	}
	if !p.s.JSON && !p.s.Quiet {
		p.summary(sum)
		for _, h := range p.hints {
			if sum.Failed > 0 || p.one {
				fmt.Fprintf(p.s.Err, "  hint: %s\n", h)
			}
		}
	}
	switch {
	case sum.Failed > 0:
		return console.Reported(fmt.Errorf("%s failed", console.Plural(sum.Failed, "process")))
	case len(p.bad) > 0:
		return console.Reported(fmt.Errorf("%s not a live patch", pluralIs(len(p.bad), "file")))
	case p.skipped:
		return console.Reported(errors.New("the process was skipped"))
	}
	return nil
}

// summary prints one line.
func (p *livePrinter) summary(sum engine.Summary) {
	done, _ := p.word(engine.Changed, p.revert)
	parts := []string{
		fmt.Sprintf("%d %s", sum.Changed, done), fmt.Sprintf("%d already", sum.Already),
		fmt.Sprintf("%d skipped", sum.Skipped), fmt.Sprintf("%d failed", sum.Failed),
	}
	if sum.Unsure > 0 {
		parts = slices.Insert(parts, 1, fmt.Sprintf("%d unknown", sum.Unsure))
	}
	line := "processes: " + strings.Join(parts, ", ")
	if sum.LongestStop > 0 {
		line += "; longest stop " + diag.Duration(sum.LongestStop)
	}
	if sum.Late > 0 {
		line += fmt.Sprintf("; %s longer than --max-stop", pluralStopped(sum.Late))
	}
	p.s.Print("%s\n", line)
	if sum.Foreign > 0 && !p.o.verbose {
		p.s.Print("%s another build of a library than the files are for (-v lists them)\n",
			pluralRuns(sum.Foreign))
	}
	// else they are all that was listed
	if sum.Privileged > 0 && sum.Privileged < sum.Left+sum.Failed {
		p.s.Print("privileged: %s unpatched: %s\n", pluralRemains(sum.Privileged), p.remaining())
	}
	if sum.Left > 0 && !p.one {
		p.s.Print("%s the library as it is, for the reason above\n", pluralKeeps(sum.Left))
	}
	if sum.Denied > 0 {
		p.s.Print("%s\n", deniedLine(sum.Denied, os.Geteuid() == 0))
		if os.Geteuid() == 0 || p.o.verbose {
			p.s.Print("  %s\n", strings.Join(sum.DeniedNames, ", "))
		}
	}
}

// deniedLine counts processes that could not be examined. Root is not advised to become root.
func deniedLine(n int, root bool) string {
	line := pluralIs(n, "process") + " not permitted to be looked at"
	if root {
		return line + ", even by root here: a security module, or a capability that is missing " +
			"(CAP_SYS_PTRACE)"
	}
	return line + ": become root to see all"
}

func pluralIs(n int, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return console.Plural(n, what) + " are"
}

func pluralRuns(n int) string {
	if n == 1 {
		return "1 process runs"
	}
	return console.Plural(n, "process") + " run"
}

// maxRemarked is how many processes a remark names without -v.
const maxRemarked = 20

// maxRemain is how many privileged processes are named once more, after all others.
const maxRemain = 10

// remaining names privileged processes that were not patched.
func (p *livePrinter) remaining() string {
	return strings.Join(p.remain, ", ")
}

func pluralRemains(n int) string {
	if n == 1 {
		return "1 process remains"
	}
	return console.Plural(n, "process") + " remain"
}

func pluralStopped(n int) string {
	if n == 1 {
		return "1 process was stopped for"
	}
	return console.Plural(n, "process") + " were stopped for"
}

func pluralKeeps(n int) string {
	if n == 1 {
		return "1 process keeps"
	}
	return console.Plural(n, "process") + " keep"
}

// runJSON is the JSON form of a run.
type runJSON struct {
	Processes []ProcessJSON `json:"processes"`
	Files     []fileJSON    `json:"unusable_files"`
	Summary   summaryJSON   `json:"summary"`
}

type fileJSON struct {
	File   string `json:"file"`
	Reason string `json:"reason"`
}

type summaryJSON struct {
	DryRun   bool `json:"dry_run"`
	Complete bool `json:"complete"` // all processes were begun
	Done     int  `json:"done"`
	Unsure   int  `json:"unsure"` // in a dry run
	Already  int  `json:"already"`
	Skipped  int  `json:"skipped"`
	Failed   int  `json:"failed"`
	Foreign  int  `json:"other_build"` // among the skipped ones
	// among the skipped ones: a file is for them, and they keep the library as it is
	Left   int      `json:"left"`
	Denied int      `json:"not_permitted"`
	Unread []string `json:"not_permitted_processes,omitempty"`
	// among the skipped and failed ones: root's, or with other rights than their user's
	Remain int   `json:"privileged_left"`
	Stop   int64 `json:"longest_stop_us"`
	Late   int   `json:"max_stop_exceeded"`
}

func newRunJSON(list []ProcessJSON, sum engine.Summary, bad []*engine.FileError, dryRun,
	complete bool) runJSON {
	j := runJSON{Processes: append([]ProcessJSON{}, list...), Files: []fileJSON{},
		Summary: summaryJSON{
			DryRun: dryRun, Complete: complete, Done: sum.Changed, Unsure: sum.Unsure,
			Already: sum.Already, Skipped: sum.Skipped, Failed: sum.Failed,
			Foreign: sum.Foreign, Left: sum.Left, Denied: sum.Denied, Unread: sum.DeniedNames,
			Remain: sum.Privileged, Stop: sum.LongestStop.Microseconds(), Late: sum.Late,
		}}
	for _, b := range bad {
		j.Files = append(j.Files, fileJSON{b.File, b.Err.Error()})
	}
	return j
}
