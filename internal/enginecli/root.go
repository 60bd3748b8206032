package enginecli

import (
	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
)

// Name is that of the program for customers' machines.
const Name = "lpbuild-engine"

// Root returns the commands of lpbuild-engine: those of this package, and others.
func Root(s *console.Console, others ...*cobra.Command) *cobra.Command {
	root := console.RootCommand(s, &cobra.Command{
		Use:   Name,
		Short: "Apply userspace live patches to running processes",
		Long: "lpbuild-engine applies userspace live patches to running processes, reverts them, " +
			"and shows which\n" +
			"are applied." + console.Exits(nil, console.ExitError, console.ExitInterrupted),
		Example: "  lpbuild-engine trigger '/usr/lib64/glibc-livepatches/0.3/*.so'\n  " +
			"lpbuild-engine status",
	})
	console.AddGroup(root, "processes", "Running processes:", NewTrigger(s), NewRevert(s),
		NewStatus(s))
	console.AddGroup(root, "rpm", "Called by RPM packages:", NewHook(s))
	console.AddGroup(root, console.OtherGroup, "Other:", append(others, console.NewVersion(s))...)
	console.FinishRoot(root)
	return root
}
