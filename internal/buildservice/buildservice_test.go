package buildservice

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOsc checks a package out, changes it and commits, with the real osc.
func TestOsc(t *testing.T) {
	s, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Put("home:jane", "lp", map[string]string{"lp.spec": "Name: lp\n", "old": "x"})
	dir := t.TempDir()
	config, err := s.Configure(dir)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-ec",
		`osc checkout home:jane lp; cd home:jane/lp; echo more >> lp.spec; echo new > new
		osc add new; osc rm old; osc commit -m change; osc status`)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "OSC_CONFIG="+config, "HOME="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if d := cmp.Diff(map[string]string{"lp.spec": "Name: lp\nmore\n", "new": "new\n"},
		s.Files("home:jane", "lp")); d != "" {
		t.Errorf("committed (-want +got):\n%s\n%s", d, out)
	}
	cmd = exec.CommandContext(t.Context(), "osc", "checkout", "home:jane", "gone")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "OSC_CONFIG="+config, "HOME="+dir)
	if out, err := cmd.CombinedOutput(); err == nil || strings.Contains(string(out), Password) {
		t.Errorf("a missing package: %v\n%s", err, out)
	}
}
