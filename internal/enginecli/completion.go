package enginecli

import (
	"context"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// completionTime is how long a shell waits for what processes have. A user waits for the shell.
const completionTime = time.Second

const noFiles = cobra.ShellCompDirectiveNoFileComp

// CompleteProcesses makes shells complete those flags of a command that choose processes and
// libraries of processes, if it has them.
func CompleteProcesses(cmd *cobra.Command) {
	for name, complete := range map[string]cobra.CompletionFunc{
		"process": processNames, "user": userNames, "all": patchedLibraries,
		"revert-all": patchedLibraries,
	} {
		if f := cmd.Flags().Lookup(name); f != nil && f.Value.Type() == "string" {
			_ = cmd.RegisterFlagCompletionFunc(name, complete) // an error: it is registered already
		}
	}
}

// processNames completes -p by the names of processes, or by PIDs once a digit is typed.
func processNames(
	cmd *cobra.Command, args []string, typed string,
) ([]string, cobra.ShellCompDirective) {
	if typed != "" && unicode.IsDigit(rune(typed[0])) {
		return CompletePID(cmd, args, typed)
	}
	var found []string
	eachProcess(cmd, func(p *process.Process) {
		if name := engine.FullName(p); plainName(name) && !slices.Contains(found, name) {
			found = append(found, name)
		}
	})
	return found, noFiles
}

// CompletePID completes a flag that takes nothing but a PID.
func CompletePID(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var found []string
	eachProcess(cmd, func(p *process.Process) {
		found = append(found, strconv.Itoa(p.PID)+"\t"+console.PrintableLine(engine.FullName(p)))
	})
	return found, noFiles
}

// userNames completes -u by the users of processes.
func userNames(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var found []string
	eachProcess(cmd, func(p *process.Process) {
		name := strconv.FormatUint(uint64(p.UID.Real), 10)
		if u, err := user.LookupId(name); err == nil && plainName(u.Username) {
			name = u.Username
		}
		if !slices.Contains(found, name) {
			found = append(found, name)
		}
	})
	return found, noFiles
}

// eachProcess calls f for every process that runs a program, one at a time.
func eachProcess(cmd *cobra.Command, f func(p *process.Process)) {
	ctx, cancel := completionContext(cmd)
	defer cancel()
	var mu sync.Mutex
	_ = process.Scan(ctx, process.ScanOptions{Timeout: completionTime},
		func(_ context.Context, p *process.Process, err error) {
			if err != nil || p.Kernel || !p.Alive() {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			f(p)
		}) // an error: what was found is offered
}

// patchedLibraries completes the libraries that have live patches, in the processes that -p and -u
// mean.
func patchedLibraries(
	cmd *cobra.Command, _ []string, _ string,
) ([]string, cobra.ShellCompDirective) {
	var found []string
	if cmd.Name() == "trigger" {
		found = append(found, "target\tthe target of the live patch")
	}
	var selected [2]string
	for i, name := range []string{"process", "user"} {
		if f := cmd.Flag(name); f != nil {
			selected[i] = f.Value.String()
		}
	}
	selector, err := engine.ParseSelector(selected[0], selected[1])
	if err != nil {
		return found, noFiles
	}
	ctx, cancel := completionContext(cmd)
	defer cancel()
	list, _, _ := engine.Look(ctx, engine.SurveyOptions{Selector: selector, Timeout: completionTime,
		// an error: what was found is offered
		Engines: []engine.Engine{&engine.Libpulp{}, &engine.Native{}}})
	add := func(applied []engine.Applied) {
		for _, a := range applied {
			if plainName(a.Library) && !slices.Contains(found, a.Library) {
				found = append(found, a.Library)
			}
		}
	}
	for _, p := range list {
		add(p.Elsewhere)
		for _, l := range p.Libraries {
			add(l.Applied)
		}
	}
	return found, noFiles
}

func completionContext(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	return context.WithTimeout(ctx, completionTime)
}

// plainName reports whether a name can be offered: one that means itself to the shell and as a
// pattern.
func plainName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._+-@:", r)
	})
}
