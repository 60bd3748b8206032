package download_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/distro"
	"github.com/lpbuild/lpbuild/pkg/download"
)

// publishAt makes the metadata of the world's repository again, dated then.
func (w *world) publishAt(t *testing.T, at time.Time) {
	t.Helper()
	if err := distro.MakeRepository(t.Context(), w.repo.Dir, nil,
		distro.RepositoryOptions{Key: w.repo.Key, Revision: at}); err != nil {
		t.Fatal(err)
	}
}

// keepState returns a function that restores the metadata as they are now, as an attacker can who
// serves the repository without its key.
func (w *world) keepState(t *testing.T) (restore func()) {
	t.Helper()
	now, kept := filepath.Join(w.repo.Dir, "repodata"), filepath.Join(t.TempDir(), "kept")
	if err := os.CopyFS(kept, os.DirFS(now)); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := errors.Join(os.RemoveAll(now), os.CopyFS(now, os.DirFS(kept))); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRollback serves an old state with its valid signature: nothing changes unless the user allows
// it.
func TestRollback(t *testing.T) {
	for name, o := range map[string]distro.StandardOptions{
		"signed": {Builds: 1, NoDebuginfo: true}, "unsigned": {Builds: 1, NoDebuginfo: true,
			Unsigned: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, o)
			w.publishAt(t, time.Now().Add(-48*time.Hour))
			rollBack := w.keepState(t)
			w.publishAt(t, time.Now().Add(-24*time.Hour))
			locked := w.mustRun(t, nil).Lock.Repositories[0]
			if locked.Timestamp.IsZero() || locked.Signed.IsZero() == (name == "signed") {
				t.Errorf("the lock has %+v", locked)
			}
			before, err := os.ReadFile(w.lock)
			if err != nil {
				t.Fatal(err)
			}
			rollBack()
			_, err = w.run(t, nil)
			if !errors.Is(err, download.ErrOlder) ||
				!strings.Contains(err.Error(), "--allow-older") ||
				!strings.Contains(err.Error(), "/update") {
				t.Errorf("error is %v, want ErrOlder with the repository and a hint", err)
			}
			if after, err := os.ReadFile(w.lock); err != nil || string(after) != string(before) {
				t.Errorf("the lock has changed (%v)", err)
			}
			w.options.AllowOlder = true
			if got := w.mustRun(t,
				nil).Lock.Repositories[0]; !got.Timestamp.Before(locked.Timestamp) {
				t.Errorf("the lock has %+v, want the older state", got)
			}
			w.options.AllowOlder = false
			w.mustRun(t, nil)
		})
	}
}

// TestMaxAge rejects a state that was signed too long ago or, if unsigned, made too long ago.
func TestMaxAge(t *testing.T) {
	signed := newWorld(t, distro.StandardOptions{Builds: 1, NoDebuginfo: true})
	signed.publishAt(t, time.Now().Add(-1000*time.Hour)) // the signature is made now
	unsigned := newWorld(t, distro.StandardOptions{Builds: 1, NoDebuginfo: true, Unsigned: true})
	unsigned.publishAt(t, time.Now().Add(-1000*time.Hour))
	for name, tc := range map[string]struct {
		w     *world
		since time.Duration
		fresh bool
	}{
		"signed now": {signed, time.Hour, true}, "signed too long ago": {signed, -time.Hour, false},
		"made recently": {unsigned, 1001 * time.Hour, true}, "made too long ago": {unsigned,
			999 * time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tc.w.run(t, func(r *download.Request) {
				r.Repositories[0].NotBefore = time.Now().Add(-tc.since)
			})
			if tc.fresh && err != nil {
				t.Error(err)
			}
			if !tc.fresh && (!errors.Is(err, download.ErrStale) ||
				!strings.Contains(err.Error(), "max-age")) {
				t.Errorf("error is %v, want ErrStale", err)
			}
		})
	}
	unsigned.server.Misbehave(distro.Fault{Path: "repomd.xml", Change: func(b []byte) []byte {
		return []byte(strings.NewReplacer("<timestamp>", "<!--", "</timestamp>",
			"-->").Replace(string(b)))
	}})
	_, err := unsigned.run(t, func(r *download.Request) {
		r.Repositories[0].NotBefore = time.Now().AddDate(-50, 0, 0)
	})
	if !errors.Is(err, download.ErrStale) {
		t.Errorf("without a time: error is %v, want ErrStale", err)
	}
}
