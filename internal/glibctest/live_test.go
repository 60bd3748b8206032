package glibctest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestLibpulp patches through libpulp.so if LPBUILD_LIBPULP names one: only SUSE's distributions
// have it.
func TestLibpulp(t *testing.T) {
	w := theWorld(t)
	libpulp := os.Getenv("LPBUILD_LIBPULP")
	if libpulp == "" {
		t.Skip("LPBUILD_LIBPULP does not name a libpulp.so")
	}
	w.live(t, "pulp", func(t *testing.T, build int) *program {
		return w.start(t, build, "LD_PRELOAD="+libpulp)
	})
}

// live starts the program on each build, with 64 threads that constantly lock one mutex, applies
// the live patches one after another, and reverts them in another order. After each step the
// program tells what is patched and what is not.
func (w *world) live(t *testing.T, engine string, start func(t *testing.T, build int) *program) {
	for i, b := range w.builds {
		t.Run(b.Release, func(t *testing.T) {
			p := start(t, i)
			p.wants(t)
			var applied []string
			for _, patch := range patches {
				applied = append(applied, patch)
				w.change(t, p, "trigger", "patched", engine, w.container(t, patch, b))
				p.wants(t, applied...)
			}
			for len(applied) > 1 {
				i := len(applied) / 2
				w.change(t, p, "revert", "reverted", engine, w.container(t, applied[i], b))
				applied = slices.Delete(applied, i, i+1)
				p.wants(t, applied...)
			}
			w.must(t, w.lpbuild, "revert", "--engine", engine, "-p", p.pid, "--all", libcName)
			p.wants(t)
			w.all(t, p, b, engine)
			w.again(t, p, b, engine)
		})
	}
}

// all applies everything for any build at once, as a package's %post does, and reverts it.
func (w *world) all(t *testing.T, p *program, b glibcBuild, engine string) {
	t.Helper()
	everything := filepath.Join(w.dir, "build", "x86_64", "*.so")
	out := w.must(t, w.lpbuild, "trigger", "--engine", engine, "-p", p.pid, everything)
	t.Logf("all at once for %s:\n%s", b.Release, out)
	p.wants(t, patches...)
	w.must(t, w.lpbuild, "revert", "--engine", engine, "-p", p.pid, everything)
	p.wants(t)
}

// again applies and reverts one live patch ten times, for a function that all threads are in or
// about to call.
func (w *world) again(t *testing.T, p *program, b glibcBuild, engine string) {
	t.Helper()
	mutex := w.container(t, "mutex", b)
	for range 10 {
		w.change(t, p, "trigger", "patched", engine, mutex)
		if got := p.ask(t, "mutex"); got != patched["mutex"] {
			t.Errorf("applied: %q", got)
		}
		w.change(t, p, "revert", "reverted", engine, mutex)
		if got := p.ask(t, "mutex"); got != original["mutex"] {
			t.Errorf("reverted: %q", got)
		}
	}
}

// change applies or reverts a live patch, and checks that lpbuild reports that.
func (w *world) change(t *testing.T, p *program, command, done, engine, container string) {
	t.Helper()
	out := w.must(t, w.lpbuild, command, "--engine", engine, "-p", p.pid, container)
	if !strings.HasPrefix(out, done+" ") || !strings.Contains(out, filepath.Base(container)) {
		t.Errorf("lpbuild %s %s says:\n%s", command, filepath.Base(container), out)
	}
}

// container returns the path of a patch's container for a build.
func (w *world) container(t *testing.T, patch string, b glibcBuild) string {
	t.Helper()
	for _, c := range w.report.Cells {
		if c.Patch == patch+".in" && c.Version == b.Version && c.Release == b.Release &&
			c.Container != "" {
			return filepath.Join(w.dir, "build", c.Arch, c.Container)
		}
	}
	t.Fatalf("no container of %s for %s-%s", patch, b.Version, b.Release)
	return ""
}
