package enginecli

import (
	"os"
	"runtime/debug"

	"github.com/lpbuild/lpbuild/pkg/engine"
)

// CollectLess makes the garbage collector run less often, for commands that examine many processes.
// It does nothing if GOGC is set.
func CollectLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(engine.GCPercent)
	}
}
