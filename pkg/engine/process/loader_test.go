package process_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/lpbuild/lpbuild/internal/targettest"
)

// TestStartedByLoader: of a process that was started as "ld.so ./program", the kernel knows the
// loader only.
func TestStartedByLoader(t *testing.T) {
	pie, fixed := compile(t, "target.c", "-pthread", "-ldl", "-pie", "-fPIE"),
		compile(t, "target.c", "-pthread", "-ldl", "-no-pie", "-fno-pie")
	loader, stripped := targettest.Loader(t, pie), targettest.StrippedLoader(t, pie)
	for name, tc := range map[string]struct{ loader, program string }{
		"PIE": {loader, pie}, "fixed": {loader, fixed}, "stripped loader": {stripped, pie},
		"stripped, fixed": {stripped, fixed},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "target")
			copyFile(t, tc.program, path)
			target := run(t, exec.Command(tc.loader, path, "threads", "1"))
			os.Remove(path)
			p := look(t, target.pid)
			if p.Exe != path || !p.ExeDeleted || p.ExeName() != "target" ||
				p.StartedBy != tc.loader {
				t.Errorf("Exe %q, deleted %v, started by %q", p.Exe, p.ExeDeleted, p.StartedBy)
			}
			mains, loaders := 0, 0
			for _, l := range libraries(t, target.pid) {
				if l.Main {
					mains++
					if l.Path != path || l.Loader {
						t.Errorf("the program: %+v", l)
					}
				}
				if l.Loader {
					loaders++
					if l.Path != tc.loader {
						t.Errorf("the loader: %+v", l)
					}
				}
			}
			if mains != 1 || loaders != 1 {
				t.Errorf("%d programs, %d loaders", mains, loaders)
			}
		})
	}
	if p := look(t, start(t, "threads", "1").pid); p.StartedBy != "" || p.ExeName() != "target" {
		t.Errorf("the usual way: Exe %q, started by %q", p.Exe, p.StartedBy)
	}
}
