package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestStartUp starts the program as a scriptlet does. Package variables are made at every start of
// every command: what takes time to make is made on first use, and what our own packages leave
// behind at start is little.
func TestStartUp(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "lpbuild", "version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// bytes, for each package; the regular expressions of one took 18 to 120 KiB
	const most = 16 << 10
	seen := 0
	for line := range strings.Lines(string(out)) {
		var pkg, at, took string
		var bytes int
		if _, err := fmt.Sscanf(line, "init %s %s ms, %s ms clock, %d bytes", &pkg, &at, &took,
			&bytes); err != nil {
			continue
		}
		if strings.HasPrefix(pkg, "github.com/lpbuild/lpbuild/pkg/") {
			if seen++; bytes > most {
				t.Errorf("at every start %s makes %d bytes", pkg, bytes)
			}
		}
	}
	if seen == 0 {
		t.Errorf("no packages seen: %s", out)
	}
}
