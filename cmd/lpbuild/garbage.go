package main

import (
	"os"
	"runtime/debug"

	"github.com/lpbuild/lpbuild/pkg/engine"
)

// collectLess is for commands that look at many processes one after the other. Who sets GOGC has decided already.
func collectLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(engine.GCPercent)
	}
}
