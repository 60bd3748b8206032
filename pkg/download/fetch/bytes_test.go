package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/download/fetch"
)

func TestBytes(t *testing.T) {
	data := random(100_000)
	s := serve(t, content(data))
	got, err := soon(fetch.Options{}).Bytes(t.Context(),
		location(t, s.URL+"/repo?token").WithCredentials("me", "pass"), 100_000)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("Bytes = %d bytes, %v", len(got), err)
	}
	r := s.asked()[0]
	user, password, _ := r.BasicAuth()
	sent := []string{r.RequestURI, user, password, r.UserAgent(), r.Header.Get("Accept-Encoding")}
	if d := cmp.Diff([]string{"/repo?token", "me", "pass", "lpbuild", "identity"}, sent); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
}

func TestBytesLocal(t *testing.T) {
	dir := t.TempDir()
	file, fifo := filepath.Join(dir, "file"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(file, []byte("local"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		raw   string
		limit int64
		want  error
		says  string
	}{
		"path":         {raw: file, limit: 5},
		"file URL":     {raw: "file://" + file, limit: 5},
		"too large":    {raw: file, limit: 4, want: fetch.ErrTooLarge},
		"missing":      {raw: file + "x", limit: 5, want: fetch.ErrNotFound},
		"below a file": {raw: file + "/x", limit: 5, want: fetch.ErrNotFound},
		"directory":    {raw: dir, limit: 5, says: "not a regular file"},
		"FIFO":         {raw: fifo, limit: 5, says: "not a regular file"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := fetch.New(fetch.Options{}).Bytes(t.Context(), location(t, tc.raw), tc.limit)
			if tc.want == nil && tc.says == "" {
				if string(got) != "local" || err != nil {
					t.Errorf("Bytes = %q, %v", got, err)
				}
				return
			}
			if got != nil || err == nil || !errors.Is(err, tc.want) && tc.want != nil ||
				!strings.Contains(err.Error(), tc.says) {
				t.Errorf("Bytes = %q, %v", got, err)
			}
		})
	}
}

func TestBytesNowhere(t *testing.T) {
	if got, err := fetch.New(fetch.Options{}).Bytes(t.Context(), fetch.Location{}, 9); err == nil ||
		got != nil {
		t.Errorf("Bytes = %q, %v", got, err)
	}
}

// The client neither asks for gzip as a transfer encoding nor undoes it: the digest is that of the
// file on the server.
func TestBytesDoesNotUndoGzip(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "x-gzip")
		w.Write([]byte("\x1f\x8b as stored"))
	})
	got, err := soon(fetch.Options{}).Bytes(t.Context(), location(t, s.URL), 99)
	if string(got) != "\x1f\x8b as stored" || err != nil {
		t.Errorf("Bytes = %q, %v", got, err)
	}
}

func TestBytesTooLarge(t *testing.T) {
	chunked := func(w http.ResponseWriter, r *http.Request) {
		for range 100 {
			w.Write(make([]byte, 1000))
			http.NewResponseController(w).Flush()
		}
	}
	for name, handler := range map[string]http.HandlerFunc{"announced": content(make([]byte, 1001)),
		"chunked": chunked} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, handler)
			got, err := soon(fetch.Options{}).Bytes(t.Context(), location(t, s.URL), 1000)
			if !errors.Is(err, fetch.ErrTooLarge) || got != nil || len(s.asked()) != 1 {
				t.Errorf("Bytes = %d bytes, %v after %d requests", len(got), err, len(s.asked()))
			}
		})
	}
}

func TestRetries(t *testing.T) {
	ok := content([]byte("ok"))
	abort := aborting([]byte("ok"), 1)
	tests := map[string]struct {
		answers  []http.HandlerFunc
		retries  int
		requests int
		code     int // of the StatusError; 0: success
	}{
		"503, then success": {answers: []http.HandlerFunc{status(503), status(500), ok},
			requests: 3},
		"429, then success":    {answers: []http.HandlerFunc{status(429), ok}, requests: 2},
		"broken, then success": {answers: []http.HandlerFunc{abort, abort, ok}, requests: 3},
		"no success":           {answers: []http.HandlerFunc{status(502)}, requests: 5, code: 502},
		"no success, 1 retry": {answers: []http.HandlerFunc{status(502)}, retries: 1, requests: 2,
			code: 502},
		"no retry": {answers: []http.HandlerFunc{status(502)}, retries: -1,
			requests: 1, code: 502},
		"not found": {answers: []http.HandlerFunc{status(404), ok}, requests: 1,
			code: 404},
		"gone": {answers: []http.HandlerFunc{status(410), ok}, requests: 1,
			code: 410},
		"forbidden": {answers: []http.HandlerFunc{status(403), ok}, requests: 1,
			code: 403},
		"not implemented": {answers: []http.HandlerFunc{status(501), ok}, requests: 1,
			code: 501},
		"not modified": {answers: []http.HandlerFunc{status(304), ok}, requests: 1,
			code: 304},
		"redirect without a target": {answers: []http.HandlerFunc{status(302), ok}, requests: 1,
			code: 302},
		"an unrequested range": {answers: []http.HandlerFunc{status(206), ok}, requests: 1,
			code: 206},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := serve(t, inTurn(tc.answers...))
			got, err := soon(fetch.Options{Retries: tc.retries}).Bytes(t.Context(),
				location(t, s.URL), 99)
			if len(s.asked()) != tc.requests {
				t.Errorf("%d requests, want %d", len(s.asked()), tc.requests)
			}
			if tc.code == 0 {
				if string(got) != "ok" || err != nil {
					t.Errorf("Bytes = %q, %v", got, err)
				}
				return
			}
			se, ok := errors.AsType[*fetch.StatusError](err)
			if !ok || se.Code != tc.code || got != nil {
				t.Errorf("Bytes = %q, %v", got, err)
			}
			if errors.Is(err, fetch.ErrNotFound) != (tc.code == 404 || tc.code == 410) {
				t.Errorf("ErrNotFound in %v", err)
			}
		})
	}
}

func TestConnectionRefusedIsRetried(t *testing.T) {
	s := serve(t, status(200))
	url := s.URL
	s.Close()
	tries := 0
	c := fetch.New(fetch.Options{Retries: 2, Backoff: func(int) time.Duration {
		tries++
		return 0
	}})
	if _, err := c.Bytes(t.Context(), location(t, url), 9); err == nil || tries != 2 ||
		!strings.Contains(err.Error(), url) {
		t.Errorf("error %v after %d retries", err, tries)
	}
}

// The pauses of the default backoff grow, differ, and never exceed 15 s each.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		c := fetch.New(fetch.Options{Retries: 12,
			Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				at = append(at, time.Now())
				return respond(503, http.NoBody), nil
			})})
		if _, err := c.Bytes(t.Context(), location(t, "https://host/"), 9); err == nil ||
			len(at) != 13 {
			t.Fatalf("error %v after %d requests", err, len(at))
		}
		for i := 1; i < len(at); i++ {
			pause, most := at[i].Sub(at[i-1]), min(300*time.Millisecond<<(i-1), 15*time.Second)
			if pause < most/2 || pause > most {
				t.Errorf("pause %d is %v, want %v to %v", i, pause, most/2, most)
			}
		}
	})
}

func TestRetryAfter(t *testing.T) {
	tests := map[string]struct {
		header func() string
		want   time.Duration
	}{
		"seconds": {func() string { return "7" }, 7 * time.Second},
		"date": {func() string {
			return time.Now().Add(9 * time.Second).UTC().Format(http.TimeFormat)
		}, 9 * time.Second},
		"date in past": {func() string {
			return time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
		}, 0},
		"far too long": {func() string { return "99999999999999999" }, 2 * time.Minute},
		"far date": {func() string {
			return time.Now().AddDate(1, 0, 0).UTC().Format(http.TimeFormat)
		}, 2 * time.Minute},
		"nonsense": {func() string { return "-5" }, 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := true
				c := soon(fetch.Options{
					Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
						res := respond(200, strings.NewReader("ok"))
						if first {
							res = respond(429, http.NoBody)
							res.Header.Set("Retry-After", tc.header())
						}
						first = false
						return res, nil
					})})
				start := time.Now()
				got, err := c.Bytes(t.Context(), location(t, "https://host/"), 9)
				if waited := time.Since(start); string(got) != "ok" || err != nil ||
					waited != tc.want {
					t.Errorf("Bytes = %q, %v after %v, want %v", got, err, waited, tc.want)
				}
			})
		})
	}
}

func TestNoHeaderInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		c := soon(fetch.Options{Retries: 2, HeaderTimeout: 10 * time.Second,
			Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				requests++
				<-r.Context().Done()
				return nil, r.Context().Err()
			})})
		start := time.Now()
		_, err := c.Bytes(t.Context(), location(t, "https://host/"), 9)
		if !errors.Is(err, fetch.ErrStalled) || requests != 3 ||
			time.Since(start) != 30*time.Second {
			t.Errorf("error %v after %d requests and %v", err, requests, time.Since(start))
		}
	})
}

func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		c := soon(fetch.Options{StallTimeout: 5 * time.Second,
			Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if requests++; requests == 1 {
					return respond(200, blocked(r.Context(), "beg")), nil
				}
				return respond(200, strings.NewReader("begin")), nil
			})})
		start := time.Now()
		got, err := c.Bytes(t.Context(), location(t, "https://host/"), 9)
		if string(got) != "begin" || err != nil || time.Since(start) != 5*time.Second {
			t.Errorf("Bytes = %q, %v after %v", got, err, time.Since(start))
		}
	})
}

// Slow is not stalled: as long as data arrive, the watchdog does not fire.
func TestSlowIsNotStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := 20
		slow := readFunc(func(b []byte) (int, error) {
			if left--; left < 0 {
				return 0, io.EOF
			}
			time.Sleep(4 * time.Second)
			return copy(b, "x"), nil
		})
		c := soon(fetch.Options{Retries: -1, StallTimeout: 5 * time.Second,
			Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				return respond(200, slow), nil
			})})
		if got, err := c.Bytes(t.Context(), location(t, "https://host/"), 99); len(got) != 20 ||
			err != nil {
			t.Errorf("Bytes = %q, %v", got, err)
		}
	})
}

func TestCancelled(t *testing.T) {
	stop := errors.New("stopped by the user")
	tests := map[string]func(r *http.Request) (*http.Response, error){
		"during the request": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
		"during the body": func(r *http.Request) (*http.Response, error) {
			return respond(200, blocked(r.Context(), "beg")), nil
		},
		"during the pause": func(r *http.Request) (*http.Response, error) {
			return respond(503, http.NoBody), nil
		},
	}
	for name, transport := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(3*time.Second, func() { cancel(stop) })
				c := fetch.New(fetch.Options{Transport: roundTripper(transport),
					Backoff: func(int) time.Duration { return time.Hour }})
				start := time.Now()
				_, err := c.Bytes(ctx, location(t, "https://host/"), 9)
				if !errors.Is(err, stop) || time.Since(start) != 3*time.Second {
					t.Errorf("error %v after %v", err, time.Since(start))
				}
			})
		})
	}
}

func TestTLS(t *testing.T) {
	s := serveTLS(t, content([]byte("ok")))
	known := soon(fetch.Options{Transport: s.Client().Transport})
	if got, err := known.Bytes(t.Context(), location(t, s.URL), 9); string(got) != "ok" ||
		err != nil {
		t.Errorf("with its certificate: %q, %v", got, err)
	}
	tries := 0
	unknown := fetch.New(fetch.Options{Backoff: func(int) time.Duration { tries++; return 0 }})
	got, err := unknown.Bytes(t.Context(), location(t, s.URL), 9)
	if err == nil || got != nil || tries > 0 || !strings.Contains(err.Error(), "certificate") ||
		!strings.Contains(err.Error(), "SSL_CERT_FILE") {
		t.Errorf("without: %q, %v after %d retries", got, err, tries)
	}
}

// The proxy is looked up once per process, and never used for loopback, so another process requests
// a name that does not exist.
func TestProxyFromEnvironment(t *testing.T) {
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "proxied %s", r.RequestURI)
	})
	tests := map[string]struct{ env, want string }{
		"used": {proxy.URL, "proxied http://host.invalid/x"},
		"refused": {"http://user:s3cret@127.0.0.1:1", "http://host.invalid/x: proxyconnect tcp: " +
			"dial tcp 127.0.0.1:1"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "print", "http://host.invalid/x")
			cmd.Env = append(os.Environ(), "HTTP_PROXY="+tc.env, "http_proxy="+tc.env, "NO_PROXY=",
				"no_proxy=")
			out, _ := cmd.CombinedOutput()
			if !strings.Contains(string(out), tc.want) || strings.Contains(string(out), "s3") {
				t.Errorf("output %q, want %q", out, tc.want)
			}
		})
	}
}
