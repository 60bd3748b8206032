package obs

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/lpbuild/lpbuild/internal/buildservice"
	"github.com/lpbuild/lpbuild/pkg/spec"
)

const (
	newEntry = "-------------------------------------------------------------------\nFri Jan  " +
		"2 03:04:05 UTC 2026 - J <j@x>\n\n- Two\n\n"
	formerEntry = "-------------------------------------------------------------------\nThu Jan  " +
		"1 03:04:05 UTC 2026 - J <j@x>\n\n- One\n\n"
)

// world is a service with package lp in project home:jane, and a source package of lp with new
// content.
type world struct {
	*testing.T
	service *buildservice.Service
	home    string
	dist    *spec.Dist
}

func newWorld(t *testing.T, served map[string]string) *world {
	t.Helper()
	service, err := buildservice.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	service.Put("home:jane", "lp", served)
	w := &world{T: t, service: service, home: t.TempDir()}
	config, err := service.Configure(w.home)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("OSC_CONFIG", config)
	t.Setenv("HOME", w.home)
	base := filepath.Join(t.TempDir(), "lp")
	w.dist = &spec.Dist{Spec: base + ".spec", Archive: base + "-2.tar.xz", Changes: base +
		".changes", Rpmlintrc: base + "-rpmlintrc"}
	for name, text := range map[string]string{w.dist.Spec: "new spec",
		w.dist.Archive: "new archive", w.dist.Changes: newEntry + formerEntry,
		w.dist.Rpmlintrc: "lint"} {
		w.write(name, text)
	}
	return w
}

func (w *world) write(name, text string) {
	w.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		w.Fatal(err)
	}
}

// osc runs osc in a directory and returns its output.
func (w *world) osc(dir string, args ...string) string {
	w.Helper()
	cmd := exec.CommandContext(w.Context(), "osc", args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		w.Fatalf("osc %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// checkout makes osc check the package out.
func (w *world) checkout() *Checkout {
	w.Helper()
	w.osc(w.home, "checkout", "home:jane", "lp")
	c, err := Open(w.Context(), filepath.Join(w.home, "home:jane", "lp"))
	if err != nil {
		w.Fatal(err)
	}
	return c
}

func (w *world) source(groups, builds int) Source {
	return Source{Name: "lp", Dist: w.dist, Groups: groups, Builds: builds}
}
