package enginecli

import (
	"os"
	"runtime/debug"

	"github.com/lpbuild/lpbuild/pkg/engine"
)

// CollectLess is for commands that look at many processes one after the other. Who sets GOGC has
// decided already.
func CollectLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(engine.GCPercent)
	}
}
