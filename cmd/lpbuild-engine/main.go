// Command lpbuild-engine applies userspace live patches to running processes.
//
// It is the part of lpbuild that customers' machines need. A program that runs as root inside other
// people's processes has no code that downloads, verifies signatures or compiles.
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
	program.SetName(enginecli.Name)
	engine := console.Program{
		Root: func(s *console.Console) *cobra.Command {
			return enginecli.Root(s, ulpcli.NewForProcesses(s))
		},
		Before: ulpcli.CommandFirst,
		Groups: map[string]console.Group{"ulp": {Report: ulpcli.Report}, "hook": {Tolerant: true}},
	}
	os.Exit(engine.Run(ulpcli.Arguments(os.Args), console.Std()))
}
