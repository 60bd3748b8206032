package process

import (
	"errors"
	"os/exec"
	"testing"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// TestMapsAcrossExec reads maps that were opened before an exec: they are empty then, which says
// nothing about the program that runs now.
func TestMapsAcrossExec(t *testing.T) {
	cmd := exec.Command("sh", "-c", "read line; exec sleep 60")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	targettest.Await(t, "the shell", func() bool { return name(t, cmd.Process.Pid) == "sh" })

	p, err := Look(t.Context(), cmd.Process.Pid, Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := p.Memory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	maps, err := m.dir.Open("maps", procfs.ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	if _, err := stdin.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	targettest.Await(t, "sleep", func() bool { return name(t, cmd.Process.Pid) == "sleep" })

	_, err = with(t.Context(), m, "maps", func() (struct{}, error) {
		err := procfs.EachMapping(maps, func(*procfs.Mapping) error { return nil })
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("maps of a program that is not there any more: %v, want ErrMalformed", err)
		}
		return struct{}{}, err
	})
	if !errors.Is(err, ErrChanged) || errors.Is(err, ErrMalformed) {
		t.Errorf("%v, want ErrChanged", err)
	}
}

// name returns the short name of a process.
func name(t *testing.T, pid int) string {
	t.Helper()
	p, err := Look(t.Context(), pid, Options{})
	if err != nil {
		return ""
	}
	return p.Name
}
