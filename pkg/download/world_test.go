package download_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/distro"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/fetch"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
	"github.com/lpbuild/lpbuild/pkg/download/store"
	"github.com/lpbuild/lpbuild/pkg/progress"
	"github.com/lpbuild/lpbuild/pkg/rpmver"
)

// world is a distributor, its server, and the machine of a user who downloads from it.
type world struct {
	ctx    context.Context
	repo   *distro.Repository
	root   string // of the server
	server *distro.Server
	store  *store.Store
	dir    string // the package directory
	lock   string

	options download.Options // warnings of the runs

	mu       sync.Mutex
	warnings []string
	done     []string // tasks reported as done: stage and task
}

func newWorld(t *testing.T, o distro.StandardOptions) *world {
	t.Helper()
	w := &world{ctx: t.Context(), root: t.TempDir()}
	var err error
	if w.repo, err = distro.StandardRepository(t.Context(), w.root, o); err != nil {
		t.Fatal(err)
	}
	if w.server, err = distro.Serve(w.root); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.server.Close() })
	if w.store, err = store.Open(filepath.Join(t.TempDir(), "store")); err != nil {
		t.Fatal(err)
	}
	w.newDir(t)
	return w
}

func (w *world) newDir(t *testing.T) {
	w.dir = t.TempDir()
	w.lock = filepath.Join(w.dir, "lpbuild.lock")
}

// source returns the world's repository as configured.
func (w *world) source(t *testing.T) download.Source {
	t.Helper()
	s := download.Source{Main: location(t, w.server.URL+"/update"), Unsigned: w.repo.Key == nil}
	if w.repo.DebugDir != "" {
		debug := location(t, w.server.URL+"/update_debug")
		s.Debuginfo = &debug
	}
	if w.repo.Key != nil {
		s.Keys = keyring(t, w.repo.Key.Public())
	}
	return s
}

func keyring(t *testing.T, data []byte) *pgp.Keyring {
	t.Helper()
	k, err := pgp.ReadKeys(data)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func location(t *testing.T, raw string) fetch.Location {
	t.Helper()
	l, err := fetch.ParseLocation(raw, "/")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// run downloads glibc's libc.so.6 with a request that change has adjusted.
func (w *world) run(t *testing.T, change func(*download.Request)) (*download.Result, error) {
	t.Helper()
	req := download.Request{
		Product: "TEST", Arch: []string{"x86_64"}, Repositories: []download.Source{w.source(t)},
		Packages: []download.Package{{Name: "glibc"}}, Libraries: []string{"libc.so.6"},
	}
	if change != nil {
		change(&req)
	}
	o := w.options
	o.Dir, o.Lock, o.Store = w.dir, w.lock, w.store
	o.Client = fetch.New(fetch.Options{Retries: 2, StallTimeout: time.Minute,
		Backoff: func(int) time.Duration { return time.Millisecond }})
	o.Progress = func(e progress.Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if e.Warn {
			w.warnings = append(w.warnings, e.Note)
		}
		if e.Final && !e.Failed {
			w.done = append(w.done, e.Stage+" "+e.Task)
		}
	}
	return download.Run(w.ctx, req, o)
}

func (w *world) mustRun(t *testing.T, change func(*download.Request)) *download.Result {
	t.Helper()
	res, err := w.run(t, change)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func names(l *download.Lock) []string {
	var list []string
	for i := range l.Builds {
		list = append(list, l.Builds[i].NEVRA())
	}
	return list
}

func mustRange(t *testing.T, s string) rpmver.Range {
	t.Helper()
	r, err := rpmver.ParseRange(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// runTLS downloads from a server with its own certificate.
func (w *world) runTLS(t *testing.T, s *distro.Server) (*download.Result, error) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.Certificate())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	src := w.source(t)
	src.Main = location(t, s.URL+"/update")
	return download.Run(w.ctx, download.Request{
		Product: "TEST", Arch: []string{"x86_64"}, Repositories: []download.Source{src},
		Packages: []download.Package{{Name: "glibc"}}, Libraries: []string{"libc.so.6"},
	}, download.Options{Dir: w.dir, Lock: w.lock, Store: w.store,
		Client: fetch.New(fetch.Options{Transport: transport})})
}

func digestOf(t *testing.T, name string) digest.Digest {
	t.Helper()
	d, err := digest.OfFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
