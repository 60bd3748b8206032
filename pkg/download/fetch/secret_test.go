package fetch_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/pkg/download/fetch"
)

const (
	secretUser     = "us3r-name"
	secretPassword = "p@ss w0rd/&"
	secretToken    = "t0ken~hmac=0a1b2c3d4e5f"
)

// showsSecret returns the secret that text contains in any of its forms.
func showsSecret(text string) string {
	for _, secret := range []string{secretUser, secretPassword, "w0rd", secretToken, "t0ken",
		"0a1b2c3d4e5f"} {
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
			if strings.Contains(text, form) {
				return form
			}
		}
	}
	return ""
}

// rawServer answers every connection with a text that need not be HTTP.
func rawServer(t *testing.T, answer string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			bufio.NewReader(c).ReadString('\n')
			fmt.Fprint(c, answer)
			c.Close()
		}
	}()
	return "http://" + l.Addr().String()
}

// No error of any kind shows the user, the password or the token: not in its text, not with any
// verb, and not in anything that it wraps.
func TestErrorsHideSecrets(t *testing.T) {
	tlsServer := serveTLS(t, status(200))
	// as http.Client and careless transports have it
	leaking := func(r *http.Request) (*http.Response, error) {
		return nil, &url.Error{Op: "Get", URL: r.URL.String() + "#" + r.Header.Get("Authorization"),
			Err: errors.New("refused " + r.URL.RawQuery)}
	}
	wrapping := func(r *http.Request) (*http.Response, error) {
		_, err := leaking(r)
		return nil, fmt.Errorf("transport: %w", err)
	}
	stalling := func(r *http.Request) (*http.Response, error) {
		return respond(200, blocked(r.Context(), "b")), nil
	}
	tests := map[string]struct {
		url       string
		transport http.RoundTripper
	}{
		"forbidden":    {url: serve(t, status(403)).URL},
		"not found":    {url: serve(t, status(404)).URL},
		"server error": {url: serve(t, status(500)).URL},
		"broken":       {url: serve(t, aborting([]byte("content"), 3)).URL},
		"too large":    {url: serve(t, content(make([]byte, 1000))).URL},
		"not HTTP":     {url: rawServer(t, "220 "+secretToken+" "+secretPassword+"\r\n")},
		"bad header":   {url: rawServer(t, "HTTP/1.1 200 OK\r\n"+secretToken+"\r\n\r\n")},
		"bad redirect": {url: serve(t, to(func(r *http.Request) string {
			return "https://%zz/" + r.RequestURI
		})).URL},
		"redirect to ftp": {url: serve(t, to(func(r *http.Request) string {
			return "ftp://x" + r.RequestURI
		})).URL},
		"redirect without a target": {url: serve(t, to(func(r *http.Request) string {
			return "http://127.0.0.1:1" + r.RequestURI
		})).URL},
		"secret in the path": {url: serve(t, inTurn(to(func(r *http.Request) string {
			return "/error/" + r.URL.RawQuery
		}), status(404))).URL},
		"redirect forever": {url: serve(t, to(func(r *http.Request) string {
			return r.RequestURI
		})).URL},
		"refused":      {url: "http://127.0.0.1:1"},
		"no such host": {url: "http://host.invalid"},
		"certificate":  {url: tlsServer.URL},
		"TLS expected": {url: strings.Replace(serve(t, status(200)).URL, "http:", "https:",
			1)},
		"url.Error":         {url: "https://host", transport: roundTripper(leaking)},
		"wrapped url.Error": {url: "https://host", transport: roundTripper(wrapping)},
		"stalled":           {url: "https://host", transport: roundTripper(stalling)},
		"local":             {url: "/does/not/exist"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c := soon(fetch.Options{Retries: 1, StallTimeout: 20 * time.Millisecond,
				Transport: tc.transport})
			l := location(t, tc.url)
			if !l.IsLocal() {
				l = location(t, tc.url+"/path?"+secretToken).WithCredentials(secretUser,
					secretPassword)
			}
			_, bytesErr := c.Bytes(t.Context(), l, 100)
			storeErr := c.ToStore(t.Context(), l, openStore(t), wantOf(make([]byte, 100)), nil)
			cancelled, cancel := context.WithCancel(t.Context())
			cancel()
			_, cancelErr := c.Bytes(cancelled, l, 100)
			for _, err := range []error{bytesErr, storeErr, cancelErr} {
				if err == nil {
					t.Fatal("no error")
				}
				checkNoSecret(t, err)
			}
		})
	}
}

func checkNoSecret(t *testing.T, err error) {
	t.Helper()
	texts := []string{fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err), fmt.Sprintf("%q", err)}
	if se, ok := errors.AsType[*fetch.StatusError](err); ok {
		texts = append(texts, se.Error(), fmt.Sprintf("%#v", se))
	}
	for wrapped := err; wrapped != nil; wrapped = errors.Unwrap(wrapped) {
		texts = append(texts, wrapped.Error())
		if many, ok := wrapped.(interface{ Unwrap() []error }); ok {
			for _, one := range many.Unwrap() {
				checkNoSecret(t, one)
			}
		}
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		texts = append(texts, ue.URL)
	}
	for _, text := range texts {
		if secret := showsSecret(text); secret != "" {
			t.Errorf("%s shows %q", text, secret)
		}
	}
}

// An error that had to be rewritten still matches its kind.
func TestRewrittenErrorsKeepTheirMeaning(t *testing.T) {
	s := serve(t, inTurn(to(func(r *http.Request) string { return "/error/" + r.URL.RawQuery }),
		status(404)))
	_, err := soon(fetch.Options{}).Bytes(t.Context(), location(t, s.URL+"/?"+secretToken), 9)
	se, ok := errors.AsType[*fetch.StatusError](err)
	if !errors.Is(err, fetch.ErrNotFound) || !ok || se.Code != 404 || se.URL != s.URL+"/error/***" {
		t.Errorf("error %v, status %+v", err, se)
	}

	tries := 0
	c := fetch.New(fetch.Options{Retries: 3, Backoff: func(int) time.Duration { return 0 },
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			tries++
			return nil, errors.New("connection broke for " + r.URL.RawQuery)
		})})
	if _, err := c.Bytes(t.Context(), location(t, "https://host/?"+secretToken), 9); err == nil ||
		tries != 4 {
		t.Errorf("error %v after %d tries", err, tries)
	}
}

func TestStoreErrorsHideSecrets(t *testing.T) {
	st := openStore(t)
	data := []byte("content")
	s := serve(t, content(data))
	if err := soon(fetch.Options{}).ToStore(t.Context(), location(t, s.URL+"/?"+secretToken), st,
		wantOf([]byte("another")), nil); err == nil {
		t.Error("no error")
	} else {
		checkNoSecret(t, err)
	}
	names, err := filepath.Glob(st.Dir() + "/*/*")
	if err != nil || showsSecret(strings.Join(names, " ")) != "" {
		t.Errorf("files %v, %v", names, err)
	}
}
