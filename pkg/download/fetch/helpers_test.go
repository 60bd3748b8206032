package fetch_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/fetch"
	"github.com/lpbuild/lpbuild/pkg/download/store"
)

// TestMain also serves as the program that tests run as another process.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 5 && os.Args[1] == "download":
		childDownload(os.Args[2], os.Args[3], os.Args[4])
	case len(os.Args) == 3 && os.Args[1] == "print":
		childPrint(os.Args[2])
	default:
		os.Exit(m.Run())
	}
}

// childDownload makes the process download into a store.
func childDownload(url, dir, d string) {
	l, err := fetch.ParseLocation(url, "")
	check(err)
	parsed, err := digest.Parse(d)
	check(err)
	st, err := store.Open(dir)
	check(err)
	check(fetch.New(fetch.Options{}).ToStore(context.Background(), l, st,
		fetch.Want{Digest: parsed}, nil))
}

// childPrint makes the process print the content of a URL.
func childPrint(url string) {
	l, err := fetch.ParseLocation(url, "")
	check(err)
	data, err := fetch.New(fetch.Options{Retries: -1}).Bytes(context.Background(), l, 1<<20)
	check(err)
	os.Stdout.Write(data)
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// soon makes a client that does not pause between attempts.
func soon(o fetch.Options) *fetch.Client {
	o.Backoff = func(int) time.Duration { return 0 }
	return fetch.New(o)
}

func location(t testing.TB, raw string) fetch.Location {
	t.Helper()
	l, err := fetch.ParseLocation(raw, "")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func openStore(t *testing.T) *store.Store {
	t.Helper()
	st, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// wantOf describes content as metadata do.
func wantOf(content []byte) fetch.Want {
	return fetch.Want{Digest: digest.OfBytes(content), Size: int64(len(content))}
}

// stored fails the test unless the store has exactly that content, and no parts.
func stored(t *testing.T, st *store.Store, content []byte) {
	t.Helper()
	f, err := st.OpenVerified(t.Context(), digest.OfBytes(content))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if got := parts(t, st); len(got) > 0 {
		t.Errorf("parts left: %v", got)
	}
}

// nothingStored fails the test if the store has anything but parts.
func nothingStored(t *testing.T, st *store.Store, content []byte) {
	t.Helper()
	if st.Has(digest.OfBytes(content)) {
		t.Error("wrong content under a final name")
	}
	if left, _ := filepath.Glob(st.Dir() + "/tmp/*"); len(left) > 0 {
		t.Errorf("temporary files left: %v", left)
	}
}

func parts(t *testing.T, st *store.Store) []string {
	t.Helper()
	found, err := filepath.Glob(st.Dir() + "/parts/*")
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// keepPart leaves the beginning of a download in the store, as an interrupted one does.
func keepPart(t *testing.T, st *store.Store, d digest.Digest, begin []byte) {
	t.Helper()
	p, err := st.Partial(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write(begin); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// server is an HTTP server on loopback that records its requests.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	sent     int64 // bytes of bodies
}

// serve starts a server for one test.
func serve(t testing.TB, handler http.HandlerFunc) *server {
	s := newServer(handler)
	s.Start()
	t.Cleanup(s.close)
	return s
}

// serveTLS starts a server whose certificate only its own client knows.
func serveTLS(t testing.TB, handler http.HandlerFunc) *server {
	s := newServer(handler)
	s.StartTLS()
	t.Cleanup(s.close)
	return s
}

func newServer(handler http.HandlerFunc) *server {
	s := &server{}
	s.Server = httptest.NewUnstartedServer(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			s.requests = append(s.requests, r)
			s.mu.Unlock()
			handler(&countingWriter{w, s}, r)
		}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	return s
}

func (s *server) close() {
	s.CloseClientConnections()
	s.Close()
}

// asked returns the requests so far.
func (s *server) asked() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// ranges returns the Range headers of the requests so far.
func (s *server) ranges() []string {
	var all []string
	for _, r := range s.asked() {
		all = append(all, r.Header.Get("Range"))
	}
	return all
}

func (s *server) bytesSent() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

type countingWriter struct {
	http.ResponseWriter
	s *server
}

func (w *countingWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.s.mu.Lock()
	w.s.sent += int64(n)
	w.s.mu.Unlock()
	return n, err
}

func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// content serves data, with ranges.
func content(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
}

// contentWithoutRanges serves data from the beginning, whatever is requested.
func contentWithoutRanges(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { w.Write(data) }
}

// aborting serves data with ranges, but breaks each connection after n bytes.
func aborting(data []byte, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		content(data)(&abortingWriter{w, n}, r)
	}
}

type abortingWriter struct {
	http.ResponseWriter
	left int
}

func (w *abortingWriter) Write(b []byte) (int, error) {
	if len(b) > w.left {
		w.ResponseWriter.Write(b[:w.left])
		http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	w.left -= len(b)
	return w.ResponseWriter.Write(b)
}

// inTurn answers each request with the next handler, and the remaining ones with the last.
func inTurn(handlers ...http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		h := handlers[0]
		handlers = handlers[min(1, len(handlers)-1):]
		mu.Unlock()
		h(w, r)
	}
}

// status answers with a status and nothing else.
func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) }
}

// roundTripper is a transport without a network.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// respond returns a response with the body.
func respond(code int, body io.Reader) *http.Response {
	return &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(body),
		ContentLength: -1}
}

// blocked is a body that delivers nothing after text until ctx is done.
func blocked(ctx context.Context, text string) io.Reader {
	return io.MultiReader(strings.NewReader(text), readFunc(func([]byte) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	}))
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }
