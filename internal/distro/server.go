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

// Request is one request that a server got.
type Request struct {
	Method string
	Path   string // unescaped, without the query
	Query  string // as sent
	Header http.Header
	Status int   // of the answer
	Bytes  int64 // of the answer's body that were written
}

// Server serves a folder on a loopback port, with ranges and conditional requests, and counts. It can be told to
// misbehave: see [Server.Misbehave].
type Server struct {
	URL string // "http://127.0.0.1:PORT", or https; no slash at the end

	root        *os.Root
	server      *http.Server
	certificate []byte // of an https server, PEM
	mu          sync.Mutex
	log         []Request
	faults      []*fault
}

// Serve serves dir over HTTP until Close. Nothing outside of dir can be reached, and folders are not listed.
func Serve(dir string) (*Server, error) { return serve(dir, nil, nil) }

// ServeTLS serves dir over HTTPS with a certificate that nobody trusts but who is given [Server.Certificate].
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
		ErrorLog: log.New(io.Discard, "", 0)} // clients that refuse our certificate are what tests are about
	go func() { _ = s.server.Serve(listener) }() // ends with Close
	return s, nil
}

// Close ends the server and the requests under way, stalled ones too.
func (s *Server) Close() error {
	err := s.server.Close()
	if rootErr := s.root.Close(); err == nil {
		err = rootErr
	}
	return err
}

// Certificate returns the certificate of a ServeTLS server in PEM; nil if it is not one.
func (s *Server) Certificate() []byte { return s.certificate }

// Requests returns what was asked so far, in the order in which answers ended: of paths that match the pattern as in
// [Fault]; "" is all.
func (s *Server) Requests(pattern string) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.log), func(r Request) bool { return !matches(pattern, r.Path) })
}

// Bytes returns how many bytes of bodies were sent for those requests.
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

// ServeHTTP answers one request: for http.Server.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := &recorder{ResponseWriter: w, status: http.StatusOK}
	defer func() { // deferred, as an aborted answer ends in a panic, which net/http takes
		s.mu.Lock()
		defer s.mu.Unlock()
		s.log = append(s.log, Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Header: r.Header.Clone(),
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
	w.Header().Set("Content-Type", "application/octet-stream") // and no guesses, which tempt clients to unpack
	w.Header().Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()))
	http.ServeContent(w, r, info.Name(), info.ModTime(), f)
}

// recorder counts what is answered. It has no ReadFrom, so that every byte passes Write.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	limit  *limit // nil: none
}

// limit is what a fault does to a body.
type limit struct {
	ctx   context.Context
	abort int64         // end the connection after so many bytes; below 0: do not
	stall int64         // say nothing more after so many bytes; below 0: do not
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
