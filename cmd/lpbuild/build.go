package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/program"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/gate"
	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/progress"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

type buildOptions struct {
	offline bool
	check   bool
	jobs    int
	arch    []string
	group   string
}

func (o *buildOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.offline, "offline", false, "accepted for scripts: a build never uses the network")
	f.BoolVar(&o.check, "check", false,
		"verify build/ against the report, lpbuild.yaml and lpbuild.lock; build nothing")
	f.IntVarP(&o.jobs, "jobs", "j", 0, "`N` pack this many containers at once (0: one per CPU)")
	f.StringSliceVar(&o.arch, "arch", nil,
		"`ARCH,...` build only for these architectures (default: all of lpbuild.yaml)")
	f.StringVar(&o.group, "group", "",
		"`K/N` build only part K of N of the builds, as a flavor in the build service does;\n"+
			"the report covers only that part")
}

func newBuild(s *console.Console, g *globalOptions) *cobra.Command {
	var o buildOptions
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build and check one live patch container for each released build",
		Long: `
Compiles each patch, packs it for every build in lpbuild.lock that it is for, and checks the
result.

A container is refused, with the reason, if anything known about the build shows that it cannot
work: a function that does not exist, is indirect (IFUNC) or has no room for a detour; a symbol
that nothing loaded with the library or the container exports in that version; text relocations,
an executable stack, a SONAME, an RPATH, an unexpected library; a function that two patches
replace. A refused container does not stop the others. Notes name the engine that cannot apply a
container, and the reason. A container that no engine can apply is refused.

A process runs the replacement that was applied last. If several patches replace a function by the
same code, each of them must say so with "overlaps: {accept: REASON}". A replacement that calls
the function it replaces would call itself, and is refused. One that takes the function's address
needs "recursion: {accept: REASON}".

Functions need NOPs at their entries. With "entries: any" in lpbuild.yaml, a function without NOPs
is accepted if a jump at its entry is provably safe. Only the native engine can patch it, on
x86_64. The container records this.

Functions that handle exceptions or cancellation, such as those of glibc that lock a stream, need
libpulp, and so do containers that use C++ functions which may throw: the unwinder does not find
code that the native engine loads. "unwinding: none" in a patch declares that neither passes
through its replacements.

A pattern such as __memcpy_*:memcpy_lp stands for the functions that the code of the indirect
function (IFUNC) memcpy can choose in that build. The build lists them. On ppc64le this code is
not read, and the functions must be named.

The compiler makes copies of functions (scale.constprop.0, scale.isra.0, scale.part.0) for callers
within the library. Each copy of a replaced function must be replaced as well, unless the patch
says why not with "clones: {accept: REASON}". Blocks that a function keeps elsewhere (scale.cold)
are replaced with it if its code shows that nothing else jumps there. One of several static
functions of the same name is chosen by its source file, malloc.c/arena_get:lp, or, for a single
build, by its address, 0x8b2c0/arena_get:lp.

A replacement calls the function that it replaces through a pointer. The source defines it outside
of functions and without static:

  __typeof__(malloc) *lpbuild_original_malloc;
  void *malloc_lp(size_t size) { return lpbuild_original_malloc(size + 16); }

NAME in lpbuild_original_NAME is the name of a function that the patch replaces, or another name
of that function. The pointer leads to the library's own code, never to that of an earlier live
patch. Where NAME stands for several functions, a line of the description chooses one:
#bar@V1:lpbuild_original_bar_v1. Calls by the function's own name would come back to the
replacement, and are refused. On ppc64le such pointers are refused.

A container is named STEM_VERSION-RELEASE_livepatchN.so. If a package has the library once for
each kind of processor, the kind follows the release: STEM_VERSION-RELEASE.power9_livepatchN.so.

A patch is compiled once for all builds unless its source uses macros that depend on the build:
LPBUILD_VERSION and LPBUILD_RELEASE (strings), LPBUILD_VERSION_MAJOR, LPBUILD_VERSION_MINOR and
LPBUILD_VERSION_PATCH (numbers) and, in patches for glibc, __GLIBC__, __GLIBC_MINOR__ and
__GLIBC_PREREQ, which describe the build and not this machine. LPBUILD_PACKAGE_NAME and
LPBUILD_PACKAGE_VERSION describe the live patch package; they are strings, and have variants that
end in _UNQUOTED for sources that quote them themselves. A second run with nothing changed does no
work.

Everything that the compiler, assembler and linker read must be in the package directory or belong
to the system, because the source package contains nothing else. With --arch, the report keeps
what still holds for the other architectures.

Compilers: gcc; for other architectures the cross compilers of Debian and SUSE, or the program
that LPBUILD_CC_<ARCH> names.` +
			console.Exits(map[int]string{
				console.ExitError: "an error, or a live patch was refused"},
				console.ExitError, console.ExitUnsupported, console.ExitInterrupted),
		Example: `  lpbuild build
  lpbuild build --arch ppc64le
  lpbuild build --check
  lpbuild build --json | jq '.cells[] | select(.status != "built")'`,
		Args: console.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			release, err := g.hold(cmd.Context(), s)
			if err != nil {
				return err
			}
			defer release()
			if o.check {
				return runCheck(cmd.Context(), s, g, o)
			}
			if _, err = runBuild(cmd.Context(), s, g, o, true); err == nil && o.group == "" {
				s.Next(g.command("dist"))
			}
			return err
		},
	}
	o.addFlags(cmd)
	completeArch(cmd, g)
	return cmd
}

// runBuild builds, and prints the report if show is set or something was refused.
func runBuild(ctx context.Context, s *console.Console, g *globalOptions, o buildOptions,
	show bool) (*inputs, error) {
	if o.jobs < 0 {
		return nil, console.Usage(errors.New("--jobs must not be negative"), "lpbuild build")
	}
	group := buildmatrix.Group{}
	if o.group != "" {
		var err error
		if group, err = buildmatrix.ParseGroup(o.group); err != nil {
			return nil, console.Usage(fmt.Errorf("--group: %w", err), "lpbuild build")
		}
	}
	in, err := readInputs(g, o.arch)
	if err != nil {
		return nil, err
	}
	in.report, err = buildmatrix.Build(ctx, in.config, in.lock, buildmatrix.Options{
		Jobs: o.jobs, Only: in.only, Group: group, Tool: "lpbuild " + program.Version(),
		Progress: progress.Func(s.Progress),
	})
	if in.report == nil {
		return nil, err
	}
	if show || err != nil {
		if perr := printBuild(s, in); perr != nil {
			return nil, perr
		}
	}
	if errors.Is(err, buildmatrix.ErrRefused) {
		return nil, console.Reported(err)
	}
	return in, err
}

// runCheck verifies the containers against the report, for %check.
func runCheck(ctx context.Context, s *console.Console, g *globalOptions, o buildOptions) error {
	in, err := readInputs(g, o.arch)
	if err != nil {
		return err
	}
	r, err := buildmatrix.Verify(ctx, in.config, in.lock, in.only)
	if err != nil {
		return err
	}
	if s.JSON {
		return s.PrintJSON(map[string]int{"checked": len(r.Cells)})
	}
	s.Print("%s as built\n", console.Plural(len(r.Cells), "container"))
	return nil
}

// inputs holds the files of a package directory.
type inputs struct {
	config *config.Config
	lock   *download.Lock
	only   []symtab.Arch // architectures that were asked for; nil: all
	report *buildmatrix.Report
}

func readInputs(g *globalOptions, arch []string) (*inputs, error) {
	cfg, err := g.config()
	if err != nil {
		return nil, err
	}
	var only []symtab.Arch
	for _, a := range arch {
		if !slices.Contains(cfg.Arch, symtab.Arch(a)) {
			return nil, fmt.Errorf("%s: architecture %s is not in \"arch\" (%v)", cfg.Path, a,
				cfg.Arch)
		}
		only = append(only, symtab.Arch(a))
	}
	lock, err := download.ReadLock(cfg.File(config.LockName))
	if err != nil {
		return nil, err
	}
	return &inputs{config: cfg, lock: lock, only: only}, nil
}

func printBuild(s *console.Console, in *inputs) error {
	r := in.report
	if s.JSON {
		return s.PrintJSON(struct {
			*buildmatrix.Report
			Cells        []cellJSON `json:"cells"`
			Inputs       []string   `json:"inputs"`
			Built        int        `json:"built"`
			Refused      int        `json:"refused"`
			Failed       int        `json:"failed"`
			Fresh        int        `json:"fresh"`
			CompilerRuns int        `json:"compiler_runs"`
		}{r, cellsJSON(r), console.List(r.Inputs), r.Count(buildmatrix.Built),
			r.Count(buildmatrix.Refused), r.Count(buildmatrix.Failed), fresh(r), r.CompilerRuns})
	}
	printRefused(s, r)
	printNotes(s, r)
	for _, c := range r.Containers() {
		note := "unchanged"
		if c.Fresh {
			note = "built"
		}
		s.Print("%-9s %s/%s/%s\n", note, config.BuildDir, c.Arch, c.Container)
	}
	unsigned := ""
	if r.Unsigned {
		unsigned = " UNSIGNED: no key verifies these builds."
	}
	s.Print("%s: %d built, %d refused, %d failed.%s\n", console.Plural(len(r.Cells), "cell"),
		r.Count(buildmatrix.Built),
		r.Count(buildmatrix.Refused), r.Count(buildmatrix.Failed), unsigned)
	return nil
}

// cellJSON is the JSON form of a cell: empty lists are lists, not null.
type cellJSON struct {
	buildmatrix.CellInfo
	Functions []string      `json:"functions"`
	Reasons   []gate.Reason `json:"reasons"`
}

func cellsJSON(r *buildmatrix.Report) []cellJSON {
	cells := make([]cellJSON, len(r.Cells))
	for i, c := range r.Cells {
		cells[i] = cellJSON{c, console.List(c.Functions), console.List(c.Reasons)}
	}
	return cells
}

// printRefused prints why cells have no container. Reasons that several builds or several
// descriptions share are printed once, with placeholders for the build.
func printRefused(s *console.Console, r *buildmatrix.Report) {
	var groups refusals
	patches := map[string]map[string]bool{} // by what is said of them
	for _, c := range r.Cells {
		for _, reason := range c.Reasons {
			said := gist(c, reason)
			if patches[said] == nil {
				patches[said] = map[string]bool{}
			}
			patches[said][c.Patch] = true
		}
	}
	for _, c := range r.Cells {
		if c.Status == buildmatrix.Built {
			continue
		}
		var own []gate.Reason
		for _, reason := range c.Reasons {
			switch said := gist(c, reason); {
			case len(patches[said]) == 1:
				own = append(own, reason)
			case reason.Code == "compiler":
				groups.add(c, said, shown(reason))
			default:
				alone := gate.Reason{Message: reason.Message, Hint: reason.Hint}
				groups.add(c, said, shown(alone))
			}
		}
		if len(own) > 0 || len(c.Reasons) == 0 {
			groups.add(c, c.Patch, shownAll(own))
		}
	}
	s.Finish()
	for _, g := range groups.list {
		text := g.text
		if len(g.builds) == 1 {
			text = g.first
		}
		fmt.Fprintf(s.Err, "%s %s for %s:\n%s", g.status, strings.Join(g.patches, ", "),
			strings.Join(g.builds, ", "), text)
	}
}

// gist returns a reason without the build, the description and the compiler's include trace, so
// that equal reasons compare equal.
func gist(c buildmatrix.CellInfo, reason gate.Reason) string {
	text := reason.Message
	if reason.Code == "compiler" {
		var errs []string
		for line := range strings.Lines(text) {
			if strings.Contains(line, "error: ") {
				errs = append(errs, line)
			}
		}
		if len(errs) > 0 {
			text = strings.Join(errs, "")
		}
	}
	return general(c, reason.Code+"\x00"+text+"\x00"+reason.Hint)
}

// general replaces the build of a cell in a text by placeholders.
func general(c buildmatrix.CellInfo, text string) string {
	if c.Version == "" {
		return text
	}
	return strings.ReplaceAll(text, "_"+c.Version+"-"+c.Release, "_{version}-{release}")
}

// refusals groups cells by the reasons why they have no container.
type refusals struct {
	list []*refusal
	by   map[string]*refusal
}

type refusal struct {
	status          buildmatrix.Status
	text            string // with placeholders for the build
	first           string // as it was said of the first build
	patches, builds []string
}

// add adds the reasons against a cell. Cells with the same key about are grouped: a patch, together
// with the whole text, or the gist of the text.
func (r *refusals) add(c buildmatrix.CellInfo, about, text string) {
	key := fmt.Sprintf("%s\x00%s", c.Status, about)
	if about == c.Patch {
		key += "\x00" + general(c, text)
	}
	g := r.by[key]
	if g == nil {
		if r.by == nil {
			r.by = map[string]*refusal{}
		}
		g = &refusal{status: c.Status, text: general(c, text), first: text}
		r.by[key], r.list = g, append(r.list, g)
	}
	build := c.Build()
	if c.Variant != "" {
		build += " (" + c.Variant + ")"
	}
	if !slices.Contains(g.builds, build) {
		g.builds = append(g.builds, build)
	}
	if !slices.Contains(g.patches, c.Patch) {
		g.patches = append(g.patches, c.Patch)
	}
}

// printNotes prints notes about the built containers, each once. A finding that several patches
// accept for the same reason is one note.
func printNotes(s *console.Console, r *buildmatrix.Report) {
	type note struct {
		first, hint         string
		containers, patches []string
		functions           []string // that it is about, by their quoted names
		messages            map[string]bool
	}
	notes := map[string]*note{}
	var order []*note
	for _, c := range r.Containers() {
		for _, n := range c.Notes {
			name, rest := aboutFunction(n.Message)
			key := c.Patch + "\x00" + rest + "\x00" + n.Hint
			if name == "" {
				// about containers, of whatever patch
				key = n.Code + "\x00" + rest + "\x00" + n.Hint
			}
			if _, why, accepted := strings.Cut(n.Message, gate.Accepted); accepted {
				key = n.Code + "\x00" + why
			}
			about := notes[key]
			if about == nil {
				about = &note{first: n.Message, hint: n.Hint, messages: map[string]bool{}}
				notes[key], order = about, append(order, about)
			}
			about.messages[n.Message] = true
			if name != "" && !slices.Contains(about.functions, name) {
				about.functions = append(about.functions, name)
			}
			for list, name := range map[*[]string]string{
				&about.containers: c.Arch + "/" + c.Container, &about.patches: c.Patch,
			} {
				if !slices.Contains(*list, name) {
					*list = append(*list, name)
				}
			}
		}
	}
	for _, about := range order {
		of := strings.Join(about.patches[:min(len(about.patches), maxNoted)], ", ")
		if more := len(about.patches) - maxNoted; more > 0 {
			of += fmt.Sprintf(" and %d more", more)
		}
		count := console.Plural(len(about.containers), "container")
		fmt.Fprintf(s.Err, "note: %s (%s): ", of, count)
		name, rest := aboutFunction(about.first)
		switch n := len(about.messages); {
		case n > 1 && n == len(about.functions) && len(about.patches) == 1:
			about.first = fmt.Sprintf("%s (as %s)%s", name, strings.Join(about.functions[1:], ", "),
				rest)
		case n > 1:
			fmt.Fprintf(s.Err, "%d like this: ", n)
		}
		fmt.Fprintln(s.Err, about.first)
		if about.hint != "" {
			fmt.Fprintf(s.Err, "  hint: %s\n", about.hint)
		}
	}
}

// maxNoted is the number of descriptions that a note names.
const maxNoted = 3

// aboutFunction splits a message that begins with the quoted name of a function. For other
// messages, name is "".
func aboutFunction(message string) (name, rest string) {
	if strings.HasPrefix(message, "\"") {
		if end := strings.Index(message[1:], "\" "); end > 0 {
			return message[:end+2], message[end+2:]
		}
	}
	return "", message
}

// shownAll returns reasons one below the other. Several with the same hint have it once.
func shownAll(reasons []gate.Reason) string {
	var b strings.Builder
	for i, reason := range reasons {
		text := shown(reason)
		if i+1 < len(reasons) && reason.Hint != "" && reasons[i+1].Hint == reason.Hint {
			text = strings.TrimSuffix(text, "  hint: "+diag.Printable(reason.Hint)+"\n")
		}
		b.WriteString(text)
	}
	return b.String()
}

func shown(reason gate.Reason) string {
	if reason.Shown != "" {
		return reason.Shown
	}
	text := "error: " + reason.Message + "\n"
	if reason.Hint != "" {
		text += "  hint: " + reason.Hint + "\n"
	}
	return text
}

func fresh(r *buildmatrix.Report) int {
	n := 0
	for _, c := range r.Cells {
		if c.Fresh {
			n++
		}
	}
	return n
}
