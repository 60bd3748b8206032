package distro

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Request is one request to a server.
type Request struct {
	Method string
	Path   string // unescaped, without the query
	Query  string // as sent
	Header http.Header
	Status int   // of the answer
	Bytes  int64 // bytes of the answer's body that were written
}

// Server serves a directory on a loopback port, with ranges and conditional requests, and records
// them. It can be told to misbehave: see [Server.Misbehave].
type Server struct {
	URL string // "http://127.0.0.1:PORT", or https; no slash at the end

	root        *os.Root
	server      *http.Server
	certificate []byte // of an https server, PEM
	mu          sync.Mutex
	log         []Request
	faults      []*fault
}

// Serve serves dir over HTTP until Close. Nothing outside dir can be reached, and directories are
// not listed.
func Serve(dir string) (*Server, error) { return serve(dir, nil, nil) }

// ServeTLS serves dir over HTTPS with a certificate that is trusted only by clients that got
// [Server.Certificate].
func ServeTLS(dir string) (*Server, error) {
	certificate, pem, err := selfSigned()
	if err != nil {
		return nil, err
	}
	return serve(dir, &tls.Config{Certificates: []tls.Certificate{certificate}}, pem)
}

func serve(dir string, config *tls.Config, pem []byte) (*Server, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("serve %s: %w", dir, err)
	}
	s := &Server{URL: "http://" + listener.Addr().String(), root: root, certificate: pem}
	if config != nil {
		s.URL = "https" + strings.TrimPrefix(s.URL, "http")
		listener = tls.NewListener(listener, config)
	}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second,
		// clients that refuse our certificate are part of the tests
		ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = s.server.Serve(listener) }() // ends with Close
	return s, nil
}

// Close ends the server and pending requests, including stalled ones.
func (s *Server) Close() error {
	err := s.server.Close()
	if rootErr := s.root.Close(); err == nil {
		err = rootErr
	}
	return err
}

// Certificate returns the certificate of a ServeTLS server in PEM, or nil for other servers.
func (s *Server) Certificate() []byte { return s.certificate }

// Requests returns the requests so far, in the order in which their answers ended, whose paths
// match the pattern as in [Fault]; "" matches all.
func (s *Server) Requests(pattern string) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.log), func(r Request) bool {
		return !matches(pattern, r.Path)
	})
}

// Bytes returns the number of body bytes that were sent for those requests.
func (s *Server) Bytes(pattern string) int64 {
	var n int64
	for _, r := range s.Requests(pattern) {
		n += r.Bytes
	}
	return n
}

// Forget empties the record of requests.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = nil
}

// ServeHTTP answers one request, for http.Server.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := &recorder{ResponseWriter: w, status: http.StatusOK}
	defer func() { // deferred, as an aborted answer ends in a panic, which net/http handles
		s.mu.Lock()
		defer s.mu.Unlock()
		s.log = append(s.log, Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery,
			Header: r.Header.Clone(),
			Status: rec.status, Bytes: rec.bytes})
	}()
	if f := s.take(r.URL.Path); f != nil {
		f.serve(rec, r, s.serveFile)
		return
	}
	s.serveFile(rec, r)
}

// serveFile answers as a plain web server does.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	f, err := s.root.Open(strings.TrimPrefix(r.URL.Path, "/"))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		http.NotFound(w, r)
		return
	}
	// no guesses, which tempt clients to unpack
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()))
	http.ServeContent(w, r, info.Name(), info.ModTime(), f)
}

// recorder counts what is answered. It has no ReadFrom, so that every byte goes through Write.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	limit  *limit // nil if there is none
}

// limit is the effect of a fault on a body.
type limit struct {
	ctx   context.Context
	abort int64         // end the connection after so many bytes; negative means never
	stall int64         // stop sending after so many bytes; negative means never
	pause time.Duration // before every piece
	piece int           // bytes
}

func (w *recorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(data []byte) (int, error) {
	if w.limit == nil {
		n, err := w.ResponseWriter.Write(data)
		w.bytes += int64(n)
		return n, err
	}
	return w.limit.write(w, data)
}

// Unwrap lets http.ResponseController flush.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
