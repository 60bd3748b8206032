// Command lpbuild-engine applies userspace live patches to running processes.
//
// It is the part of lpbuild that customers' machines need: a program that runs as root inside other
// people's processes holds no code that downloads, verifies signatures or compiles.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/enginecli"
	"github.com/lpbuild/lpbuild/internal/program"
	"github.com/lpbuild/lpbuild/internal/ulpcli"
)

func main() {
	program.SetName("lpbuild-engine")
	engine := console.Program{
		Root: newRoot, Before: ulpcli.CommandFirst,
		Groups: map[string]console.Group{"ulp": {Report: ulpcli.Report}, "hook": {Tolerant: true}},
	}
	os.Exit(engine.Run(ulpcli.Arguments(os.Args), console.Std()))
}

func newRoot(s *console.Console) *cobra.Command {
	root := console.RootCommand(s, &cobra.Command{
		Use:   program.Name(),
		Short: "Apply userspace live patches to running processes",
		Long: "lpbuild-engine applies userspace live patches to running processes, reverts them, and shows which\n" +
			"are applied." +
			console.Exits(nil, console.ExitError, console.ExitInterrupted),
		Example: "  lpbuild-engine trigger '/usr/lib64/glibc-livepatches/0.3/*.so'\n  lpbuild-engine status",
	})
	console.AddGroup(root, "processes", "Running processes:", enginecli.NewTrigger(s), enginecli.NewRevert(s), enginecli.NewStatus(s))
	console.AddGroup(root, "rpm", "Called by RPM packages:", enginecli.NewHook(s))
	console.AddGroup(root, console.OtherGroup, "Other:", ulpcli.NewForProcesses(s), console.NewVersion(s))
	console.FinishRoot(root)
	return root
}
