// Package buildservice is a small Open Build Service on loopback. It implements what osc needs to
// check packages out, commit files and make requests, and builds nothing. Tests use it with the
// real osc.
package buildservice

import (
	"context"
	"crypto/md5" //nolint:gosec // the service's protocol names files by it
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// User and Password are the only credentials that a service accepts.
const (
	User     = "jane"
	Password = "correct-horse-battery"
)

// maxBody bounds a client's request body, in bytes.
const maxBody = 64 << 20

// Service is a running service.
type Service struct {
	URL string

	mu       sync.Mutex
	packages map[string]map[string][]byte // "PROJECT/PACKAGE" → its files
	uploads  map[string][]byte            // by MD5
	revision int
	requests []string // bodies of requests, in order
	server   *http.Server
}

// Start starts a service on a free port of loopback.
func Start() (*Service, error) {
	s := &Service{packages: map[string]map[string][]byte{}, uploads: map[string][]byte{},
		revision: 1}
	var listen net.ListenConfig
	l, err := listen.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.URL = "http://" + l.Addr().String()
	s.server = &http.Server{Handler: s.handler(), ReadHeaderTimeout: time.Minute}
	go func() {
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			panic(err)
		}
	}()
	return s, nil
}

// Close ends the service.
func (s *Service) Close() error { return s.server.Close() }

// Configure writes a configuration for osc into a directory and returns its name, for $OSC_CONFIG.
func (s *Service) Configure(dir string) (string, error) {
	name := filepath.Join(dir, "oscrc")
	return name, os.WriteFile(name, fmt.Appendf(nil, `[general]
apiurl = %[1]s
[%[1]s]
user = %[2]s
pass = %[3]s
credentials_mgr_class = osc.credentials.PlaintextConfigFileCredentialsManager
allow_http = 1
`, s.URL, User, Password), 0o600)
}

// Put makes a package with these files, or replaces the package's files.
func (s *Service) Put(project, name string, files map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string][]byte{}
	for file, text := range files {
		all[file] = []byte(text)
	}
	s.packages[project+"/"+name] = all
	s.revision++
}

// Files returns a package's files.
func (s *Service) Files(project, name string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]string{}
	for file, data := range s.packages[project+"/"+name] {
		all[file] = string(data)
	}
	return all
}

// Requests returns the requests made so far, as XML.
func (s *Service) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

func (s *Service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /source/{project}/_meta", func(w http.ResponseWriter, r *http.Request) {
		reply(w, `<project name="%s"><title/><description/></project>`, r.PathValue("project"))
	})
	mux.HandleFunc("GET /source/{project}/{package}/_meta",
		func(w http.ResponseWriter, r *http.Request) {
			reply(w, `<package name="%s" project="%s"><title/><description/></package>`,
				r.PathValue("package"), r.PathValue("project"))
		})
	mux.HandleFunc("GET /source/{project}", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, "<directory/>")
	})
	mux.HandleFunc("GET /source/{project}/{package}", s.list)
	mux.HandleFunc("GET /source/{project}/{package}/{file}", s.get)
	mux.HandleFunc("PUT /source/{project}/{package}/{file}", s.put)
	mux.HandleFunc("POST /source/{project}/{package}", s.commit)
	mux.HandleFunc("POST /request", s.request)
	mux.HandleFunc("POST /request/{id}", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, `<status code="ok"/>`)
	})
	mux.HandleFunc("/search/project/id", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, `<collection matches="1"><project name="Vendor:Maintenance"/></collection>`)
	})
	mux.HandleFunc("/search/request", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, `<collection matches="0"/>`)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != User || password != Password {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, "authentication required", http.StatusUnauthorized)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		s.mu.Lock()
		defer s.mu.Unlock()
		mux.ServeHTTP(w, r)
	})
}

func reply(w http.ResponseWriter, format string, args ...any) {
	w.Header().Set("Content-Type", "text/xml")
	fmt.Fprintf(w, format, args...) //nolint:gosec // no browser ever talks to this
}

func sum(data []byte) string {
	digest := md5.Sum(data) //nolint:gosec // see above
	return hex.EncodeToString(digest[:])
}

// of returns the files of the package in a request's path, or answers the request and returns nil.
func (s *Service) of(w http.ResponseWriter, r *http.Request) map[string][]byte {
	files := s.packages[r.PathValue("project")+"/"+r.PathValue("package")]
	if files == nil {
		w.WriteHeader(http.StatusNotFound)
		reply(w, `<status code="unknown_package"><summary>no such package</summary></status>`)
	}
	return files
}

func (s *Service) list(w http.ResponseWriter, r *http.Request) {
	files := s.of(w, r)
	if files == nil {
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	//nolint:gosec // as above
	fmt.Fprintf(w, "<directory name=%q rev=\"%d\" vrev=\"%d\" srcmd5=%q>", r.PathValue("package"),
		s.revision, s.revision, sum(fmt.Append(nil, s.revision)))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(w, "<entry name=%q md5=%q size=\"%d\" mtime=\"1767323045\"/>", name,
			sum(files[name]), len(files[name]))
	}
	fmt.Fprint(w, "</directory>")
}

func (s *Service) get(w http.ResponseWriter, r *http.Request) {
	if files := s.of(w, r); files != nil {
		_, _ = w.Write(files[r.PathValue("file")]) // a client that has gone needs no answer
	}
}

func (s *Service) put(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.uploads[sum(data)] = data
	reply(w, `<revision rev="upload"/>`)
}

// commit handles a list of files with their digests: it asks for missing ones, and once it has them
// all they become the package.
func (s *Service) commit(w http.ResponseWriter, r *http.Request) {
	former := s.of(w, r)
	if former == nil {
		return
	}
	var list struct {
		Entries []struct {
			Name string `xml:"name,attr"`
			MD5  string `xml:"md5,attr"`
		} `xml:"entry"`
	}
	if err := xml.NewDecoder(r.Body).Decode(&list); err != nil ||
		r.URL.Query().Get("cmd") != "commitfilelist" {
		http.Error(w, "want a file list", http.StatusBadRequest)
		return
	}
	for _, data := range former {
		s.uploads[sum(data)] = data
	}
	files, missing := map[string][]byte{}, ""
	for _, e := range list.Entries {
		data, ok := s.uploads[e.MD5]
		if !ok {
			missing += fmt.Sprintf("<entry name=%q md5=%q/>", e.Name, e.MD5)
		}
		files[e.Name] = data
	}
	if missing != "" {
		reply(w, `<directory error="missing" name="%s">%s</directory>`, r.PathValue("package"),
			missing)
		return
	}
	s.packages[r.PathValue("project")+"/"+r.PathValue("package")] = files
	s.revision++
	s.list(w, r)
}

func (s *Service) request(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.URL.Query().Get("cmd") != "create" {
		http.Error(w, "want a request", http.StatusBadRequest)
		return
	}
	s.requests = append(s.requests, string(body))
	text := strings.Replace(string(body), "<request>",
		fmt.Sprintf(`<request id="%d">`, 4710+len(s.requests)), 1)
	text = strings.Replace(text, "</request>",
		`<state name="new" who="jane" when="2026-01-02T03:04:05"/></request>`, 1)
	reply(w, "%s", text)
}
