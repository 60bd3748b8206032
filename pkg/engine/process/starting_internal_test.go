package process

import (
	"errors"
	"os/exec"
	"slices"
	"testing"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// TestStartedSince asks whether a process has loaded all, with a list of its libraries that was
// made when it had not, after it has. The list is no reason to call a library not loaded.
func TestStartedSince(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	libc := func(l *rtld.Library) bool { return l.SONAME == "libc.so.6" }
	var m *Memory
	var libraries []*rtld.Library
	targettest.Await(t, "a program that has all", func() bool {
		if m != nil {
			m.Close()
		}
		p, err := Look(t.Context(), cmd.Process.Pid, Options{})
		if err == nil {
			m, err = p.Memory(t.Context())
		}
		if err == nil {
			libraries, err = m.Libraries(t.Context())
		}
		return err == nil && slices.ContainsFunc(libraries, libc) &&
			m.Started(t.Context(), libraries) == nil
	})
	defer m.Close()
	before := slices.DeleteFunc(slices.Clone(libraries), libc)
	if err := m.Started(t.Context(), before); !errors.Is(err, ErrStarting) {
		t.Errorf("without libc in the list: %v, want ErrStarting", err)
	}
}
