// Command lpbuild takes a userspace live patch from its source to the customer's running processes.
package main

import (
	"os"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/ulpcli"
)

func main() { os.Exit(run(ulpcli.Arguments(os.Args), console.Std())) }
