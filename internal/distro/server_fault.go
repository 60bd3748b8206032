package distro

import (
	"context"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"
)

// Fault describes how a server misbehaves. Of the fields that are set, the first in order counts,
// except for Delay, which combines with all others.
type Fault struct {
	// Path selects requests: a whole path, or a pattern of [path.Match] for the base name ("*.rpm",
	// "repomd.xml") or, if it begins with a slash, for the whole path; "" means all.
	Path  string
	Times int           // number of requests; 0 means all
	Skip  int           // number of these requests that are answered correctly first
	Delay time.Duration // before the answer begins

	Handler http.HandlerFunc // answers instead
	// 302 to this URL; if it ends in a slash, the path of the request follows
	Redirect   string
	Status     int           // this status, with a short text
	RetryAfter time.Duration // beside Status: the header, in whole seconds

	Abort bool // the connection breaks after After bytes of the body
	// nothing more comes after After bytes, until the client leaves or the server is closed
	Stall bool
	After int64

	BytesPerSecond int64 // approximate rate; at least 100
	NoRange        bool  // no support for ranges: 200 and the whole body
	// replaces the body, for instance to damage it; without ranges
	Change func([]byte) []byte
}

// fault is a Fault in use.
type fault struct {
	Fault
	seen int
}

// Misbehave makes the server answer according to the fault, until its Times are used up. If several
// faults match, the first one set counts.
func (s *Server) Misbehave(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &fault{Fault: f})
}

// Behave ends all misbehaviour.
func (s *Server) Behave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// take returns the fault for a request, or nil, and counts it.
func (s *Server) take(urlPath string) *fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if !matches(f.Path, urlPath) || f.Times > 0 && f.seen >= f.Skip+f.Times {
			continue
		}
		if f.seen++; f.seen > f.Skip {
			return f
		}
		return nil
	}
	return nil
}

func matches(pattern, urlPath string) bool {
	if pattern == "" || pattern == urlPath {
		return true
	}
	if !strings.HasPrefix(pattern, "/") {
		urlPath = path.Base(urlPath)
	}
	ok, err := path.Match(pattern, urlPath)
	return ok && err == nil
}

func (f *fault) serve(w *recorder, r *http.Request, well http.HandlerFunc) {
	if !sleep(r.Context(), f.Delay) {
		panic(http.ErrAbortHandler)
	}
	switch {
	case f.Handler != nil:
		f.Handler(w, r)
	case f.Redirect != "":
		to := f.Redirect
		if strings.HasSuffix(to, "/") {
			to += strings.TrimPrefix(r.URL.Path, "/")
		}
		http.Redirect(w, r, to, http.StatusFound)
	case f.Status != 0:
		if f.RetryAfter > 0 {
			w.Header().Set("Retry-After", fmt.Sprint(int64(f.RetryAfter.Seconds())))
		}
		http.Error(w, http.StatusText(f.Status), f.Status)
	case f.Change != nil:
		f.serveChanged(w, r, well)
	default:
		if w.limit = f.limit(r.Context()); f.NoRange {
			r.Header.Del("Range")
		}
		well(w, r)
	}
}

func (f *fault) limit(ctx context.Context) *limit {
	l := &limit{ctx: ctx, abort: -1, stall: -1, piece: 16 << 10}
	switch {
	case f.Abort:
		l.abort = f.After
	case f.Stall:
		l.stall = f.After
	case f.BytesPerSecond > 0:
		rate := max(100, f.BytesPerSecond)
		l.piece = int(min(16<<10, max(1, rate/50)))
		l.pause = time.Duration(int64(l.piece)) * time.Second / time.Duration(rate)
	}
	return l
}

// serveChanged answers with the body after Change.
func (f *fault) serveChanged(w *recorder, r *http.Request, well http.HandlerFunc) {
	r.Header.Del("Range")
	body := &buffer{header: http.Header{}, status: http.StatusOK}
	well(body, r)
	body.data = f.Change(body.data)
	w.Header().Set("Content-Length", fmt.Sprint(len(body.data)))
	w.WriteHeader(body.status)
	_, _ = w.Write(body.data) // the client may have left
}

// buffer keeps a response.
type buffer struct {
	header http.Header
	status int
	data   []byte
}

func (b *buffer) Header() http.Header  { return b.header }
func (b *buffer) WriteHeader(code int) { b.status = code }
func (b *buffer) Write(data []byte) (int, error) {
	b.data = append(b.data, data...)
	return len(data), nil
}

// write passes data on in pieces, up to the point where the answer breaks.
func (l *limit) write(w *recorder, data []byte) (written int, err error) {
	for len(data) > 0 {
		piece := data[:min(len(data), l.piece)]
		switch {
		case l.abort >= 0:
			piece = piece[:min(int64(len(piece)), l.abort-w.bytes)]
		case l.stall >= 0:
			piece = piece[:min(int64(len(piece)), l.stall-w.bytes)]
		}
		n, err := w.ResponseWriter.Write(piece)
		w.bytes += int64(n)
		written += n
		if err != nil {
			return written, err
		}
		if w.bytes == l.abort || w.bytes == l.stall {
			l.end(w)
		}
		if l.pause > 0 {
			_ = http.NewResponseController(w).Flush() // the next Write notices that a client left
			if !sleep(l.ctx, l.pause) {
				return written, context.Cause(l.ctx)
			}
		}
		data = data[n:]
	}
	return written, nil
}

// end breaks the connection, at once or when the client gives up, after everything written was
// sent.
func (l *limit) end(w *recorder) {
	_ = http.NewResponseController(w).Flush() // it does not matter whether the client left
	if l.stall >= 0 {
		<-l.ctx.Done()
	}
	panic(http.ErrAbortHandler)
}

// sleep reports whether it slept for all of d.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
