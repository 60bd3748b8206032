package distro

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

const content = "0123456789abcdefghij"

// serveContent serves a directory with /sub/file.rpm in it.
func serveContent(t *testing.T, serve func(string) (*Server, error)) *Server {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(dir+"/root/sub", 0o755),
		os.WriteFile(dir+"/root/sub/file.rpm", []byte(content), 0o644),
		os.WriteFile(dir+"/secret", []byte("secret"), 0o644),
		os.Symlink("../secret", dir+"/root/link")); err != nil {
		t.Fatal(err)
	}
	s, err := serve(dir + "/root")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// get returns the response as a client that follows no redirects gets it.
func get(t *testing.T, url string, header ...string) (resp *http.Response, body string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err = transport.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp, string(data), err
}

func TestServer(t *testing.T) {
	s := serveContent(t, Serve)
	file := s.URL + "/sub/file.rpm"
	_, body, err := get(t, file)
	if err != nil || body != content {
		t.Errorf("get: %q, %v", body, err)
	}
	resp, body, err := get(t, file+"?token=x", "Range", "bytes=15-")
	if err != nil || resp.StatusCode != http.StatusPartialContent || body != content[15:] {
		t.Errorf("range: %v %q %v", resp, body, err)
	}
	resp, _, err = get(t, file, "If-None-Match", resp.Header.Get("ETag"))
	if err != nil || resp.StatusCode != http.StatusNotModified {
		t.Errorf("conditional: %v %v", resp, err)
	}
	if resp, _, err = get(t, file, "Range", "bytes=99-"); err != nil ||
		resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("range past the end: %v %v", resp, err)
	}
	for _, p := range []string{"/none", "/sub", "/sub/", "/", "/../secret", "/link"} {
		if resp, body, err := get(t, s.URL+p); err != nil ||
			resp.StatusCode != http.StatusNotFound {
			t.Errorf("get %s: %v %q %v", p, resp, body, err)
		}
	}
	got := s.Requests("*.rpm")
	if len(got) != 4 || got[1].Query != "token=x" || got[1].Status != 206 || got[1].Bytes != 5 ||
		got[1].Header.Get("Range") != "bytes=15-" {
		t.Errorf("requests: %+v", got)
	}
	if n := s.Bytes("/sub/file.rpm"); n < 25 || n > 200 {
		t.Errorf("%d bytes", n)
	}
	if s.Forget(); len(s.Requests("")) != 0 {
		t.Error("requests are not forgotten")
	}
	if _, err := Serve(t.TempDir() + "/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Serve of nothing: %v", err)
	}
}

func TestServeTLS(t *testing.T) {
	s := serveContent(t, ServeTLS)
	if _, _, err := get(t, s.URL+"/sub/file.rpm"); err == nil ||
		!strings.HasPrefix(s.URL, "https://") {
		t.Errorf("%s is trusted without its certificate", s.URL)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.Certificate()) {
		t.Fatal("no certificate")
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool},
		DisableKeepAlives: true}}
	resp, err := client.Get(s.URL + "/sub/file.rpm")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if data, err := io.ReadAll(resp.Body); err != nil || string(data) != content {
		t.Errorf("got %q, %v", data, err)
	}
}

func TestFaults(t *testing.T) {
	tests := map[string]struct {
		fault  Fault
		status int
		body   string
		broken bool // the body does not end properly
		header string
	}{
		"status": {Fault{Status: 503, RetryAfter: 7 * time.Second}, 503,
			"Service Unavailable\n", false, "Retry-After: 7"},
		"redirect": {Fault{Redirect: "http://example.com/x"}, 302, "", false,
			"Location: http://example.com/x"},
		"redirect to": {Fault{Redirect: "http://example.com/"}, 302, "", false,
			"Location: http://example.com/sub/file.rpm"},
		"abort":      {Fault{Abort: true, After: 7}, 200, content[:7], true, "Content-Length: 20"},
		"abort at 0": {Fault{Path: "*.rpm", Abort: true}, 200, "", true, ""},
		"stall":      {Fault{Stall: true, After: 3}, 200, content[:3], true, ""},
		"change": {Fault{Change: bytes.ToUpper}, 200, strings.ToUpper(content), false,
			"Content-Length: 20"},
		"truncate": {Fault{Change: func(b []byte) []byte { return b[:5] }}, 200, content[:5],
			false, "Content-Length: 5"},
		"slow":     {Fault{BytesPerSecond: 100}, 206, content[1:], false, ""},
		"no range": {Fault{NoRange: true}, 200, content, false, ""},
		"handler":  {Fault{Handler: http.NotFound}, 404, "404 page not found\n", false, ""},
		"another":  {Fault{Path: "/other", Status: 500}, 206, content[1:], false, ""},
		"pattern":  {Fault{Path: "/sub/*.rpm", Status: 418}, 418, "I'm a teapot\n", false, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serveContent(t, Serve)
			s.Misbehave(tc.fault)
			header := []string{"Range", "bytes=1-"}
			if tc.broken {
				header = nil
			}
			resp, body, err := get(t, s.URL+"/sub/file.rpm", header...)
			if resp == nil || resp.StatusCode != tc.status || tc.status != 302 && body != tc.body ||
				(err != nil) != tc.broken {
				t.Fatalf("got %v %q %v, want %d %q", resp, body, err, tc.status, tc.body)
			}
			if key, value, found := strings.Cut(tc.header, ": "); found &&
				resp.Header.Get(key) != value {
				t.Errorf("header %s: %q, want %q", key, resp.Header.Get(key), value)
			}
			s.Behave()
			if _, body, err := get(t, s.URL+"/sub/file.rpm"); err != nil || body != content {
				t.Errorf("after Behave: %q, %v", body, err)
			}
		})
	}
}

func TestFaultsByNumber(t *testing.T) {
	s := serveContent(t, Serve)
	s.Misbehave(Fault{Path: "*.rpm", Status: 500, Skip: 1, Times: 2, Delay: 20 * time.Millisecond})
	s.Misbehave(Fault{Path: "*.rpm", Status: 404, Times: 1})
	start := time.Now()
	var got []int
	for range 5 {
		resp, _, err := get(t, s.URL+"/sub/file.rpm")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, resp.StatusCode)
	}
	want := []int{200, 500, 500, 404, 200}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("statuses %v, want %v", got, want)
		}
	}
	if took := time.Since(start); took < 40*time.Millisecond {
		t.Errorf("two delays of 20 ms took %v", took)
	}
}
