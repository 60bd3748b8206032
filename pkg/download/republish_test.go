package download_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lpbuild/lpbuild/internal/distro"
	"github.com/lpbuild/lpbuild/pkg/download"
)

// republished makes another state of the world's repository, with one build only, and returns a
// function that swaps the two, as an owner does who publishes while others read.
func (w *world) republished(t *testing.T) (exchange func()) {
	t.Helper()
	other, err := distro.StandardRepository(t.Context(), t.TempDir(),
		distro.StandardOptions{Builds: 1, NoDebuginfo: true, Key: w.repo.Key})
	if err != nil {
		t.Fatal(err)
	}
	aside := filepath.Join(t.TempDir(), "aside")
	var mu sync.Mutex
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if err := errors.Join(os.Rename(w.repo.Dir, aside), os.Rename(other.Dir, w.repo.Dir),
			os.Rename(aside, other.Dir)); err != nil {
			t.Error(err)
		}
	}
}

// TestRepositoryChangesBeforeRPM removes an RPM after its metadata were read and publishes new
// metadata, which are then used.
func TestRepositoryChangesBeforeRPM(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 2, NoDebuginfo: true})
	exchange := w.republished(t)
	w.server.Misbehave(distro.Fault{Path: "glibc-2.31-150300.26.5*.rpm", Times: 1,
		Handler: func(rw http.ResponseWriter, r *http.Request) {
			exchange()
			http.NotFound(rw, r)
		}})
	if got := names(w.mustRun(t, nil).Lock); !slices.Equal(got,
		[]string{"glibc-2.31-150300.9.12.1.x86_64"}) {
		t.Errorf("the builds are %v, want those of the new state", got)
	}
	// about the RPM that is gone or about the other one, which is fetched at the same time
	said := func(s string) bool {
		return strings.Contains(s, "read once more") && strings.Contains(s, "/glibc-2.31-150300.")
	}
	if !slices.ContainsFunc(w.warnings, said) {
		t.Errorf("the warnings are %q", w.warnings)
	}
}

// TestRepositoryKeepsChanging gives up after the second attempt: the former lock stays.
func TestRepositoryKeepsChanging(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 2, NoDebuginfo: true})
	exchange := w.republished(t)
	w.server.Misbehave(distro.Fault{Path: "glibc-2*9.12.1*.rpm",
		Handler: func(rw http.ResponseWriter, r *http.Request) {
			exchange()
			http.NotFound(rw, r)
		}})
	_, err := w.run(t, nil)
	if !errors.Is(err, download.ErrChanged) || !strings.Contains(err.Error(), "try again") {
		t.Errorf("error is %v, want ErrChanged with a hint", err)
	}
	if _, err := os.Stat(w.lock); err == nil {
		t.Error("a lock was written")
	}
}

// TestRPMReplaced replaces an RPM by another of the same name for a moment: the second attempt
// finds the right one.
func TestRPMReplaced(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1, NoDebuginfo: true})
	w.server.Misbehave(distro.Fault{Path: "glibc-2*.rpm", Change: damage, Times: 1})
	if n := len(w.mustRun(t, nil).Lock.Builds); n != 1 {
		t.Errorf("%d builds, want 1", n)
	}
}
