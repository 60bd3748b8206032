package process_test

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// loaderOf returns the path of the dynamic loader that a program names.
func loaderOf(t *testing.T, program string) string {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := f.Section(".interp").Data()
	if err != nil {
		t.Fatal(err)
	}
	path, err := filepath.EvalSymlinks(string(bytes.TrimRight(b, "\x00")))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestStartedByLoader: of a process that was started as "ld.so ./program", the kernel knows the loader only.
func TestStartedByLoader(t *testing.T) {
	pie, fixed := compile(t, "target.c", "-pthread", "-ldl", "-pie", "-fPIE"), compile(t, "target.c", "-pthread", "-ldl", "-no-pie", "-fno-pie")
	loader := loaderOf(t, pie)
	stripped := filepath.Join(t.TempDir(), "loader")
	if out, err := exec.Command("strip", "-o", stripped, loader).CombinedOutput(); err != nil {
		t.Fatalf("strip: %v\n%s", err, out)
	}
	for name, tc := range map[string]struct{ loader, program string }{
		"PIE": {loader, pie}, "fixed": {loader, fixed}, "stripped loader": {stripped, pie}, "stripped, fixed": {stripped, fixed},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "target")
			copyFile(t, tc.program, path)
			target := run(t, exec.Command(tc.loader, path, "threads", "1"))
			os.Remove(path)
			p := look(t, target.pid)
			if p.Exe != path || !p.ExeDeleted || p.ExeName() != "target" || p.StartedBy != tc.loader {
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
