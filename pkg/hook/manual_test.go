package hook

import (
	"errors"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine"
)

// TestManual logs manual changes where scriptlets log, and nothing about runs without effect.
func TestManual(t *testing.T) {
	root := tree(t, map[string]string{"var/log/": ""})
	idle := NewManual("lpbuild trigger x.so", false)
	check(t, idle.Write(root, engine.Summary{Already: 1, Skipped: 2}))
	if got := content(t, root+"/var/log"); got != "" {
		t.Errorf("a run that changed nothing wrote %q", got)
	}
	m := NewManual("lpbuild revert\nx.so", true)
	m.Add(&engine.Report{PID: 4711, Name: "mysqld", Status: engine.Failed,
		Err: errors.New("it is\x1b busy")})
	m.Add(&engine.Report{PID: 4712, Name: "bystander", Status: engine.Skipped,
		Err: errors.New("another build")})
	check(t, m.Write(root, engine.Summary{Changed: 1, Failed: 1}))
	text := readLog(t, root, logFile)
	if strings.Contains(text, "bystander") {
		t.Errorf("the log has a process that no live patch is for: %q", text)
	}
	for _, want := range []string{" manual lpbuild revert x.so: mysqld (4711): failed: it is",
		" manual lpbuild revert x.so: Processes reverted: 1, Skipped: 0, Failed: 1.\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log has %q, without %q", text, want)
		}
	}
}
