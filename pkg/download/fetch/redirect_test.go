package fetch_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/download/fetch"
)

// to redirects to the result of target.
func to(target func(r *http.Request) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", target(r))
		w.WriteHeader(http.StatusFound)
	}
}

func TestRedirectOnTheSameHost(t *testing.T) {
	s := serve(t, inTurn(to(func(*http.Request) string {
		return "/new/place?own"
	}), content([]byte("ok"))))
	l := location(t, s.URL+"/old?token").WithCredentials("me", "pass")
	got, err := soon(fetch.Options{}).Bytes(t.Context(), l, 9)
	if string(got) != "ok" || err != nil {
		t.Fatalf("Bytes = %q, %v", got, err)
	}
	r := s.asked()[1]
	if user, _, _ := r.BasicAuth(); r.RequestURI != "/new/place?own" || user != "me" {
		t.Errorf("got a request for %s as %q", r.RequestURI, user)
	}
}

// Another host gets neither the password nor the token, not even if the first host repeats the
// token, or in a Referer.
func TestRedirectToAnotherHostDropsSecrets(t *testing.T) {
	other := serve(t, content([]byte("ok")))
	for name, target := range map[string]string{
		"own query":      "/new?signature=1",
		"token repeated": "/new?t0ken&signature=1",
		"user info":      "/new?signature=1",
	} {
		t.Run(name, func(t *testing.T) {
			base := other.URL
			if name == "user info" {
				base = strings.Replace(base, "http://", "http://evil:pw@", 1)
			}
			first := serve(t, to(func(*http.Request) string { return base + target }))
			l := location(t, first.URL+"/old?t0ken").WithCredentials("me", "pass")
			if got, err := soon(fetch.Options{}).Bytes(t.Context(), l, 9); string(got) != "ok" ||
				err != nil {
				t.Fatalf("Bytes = %q, %v", got, err)
			}
			asked := other.asked()
			r := asked[len(asked)-1]
			if r.RequestURI != "/new?signature=1" || r.Header.Get("Authorization") != "" ||
				r.Referer() != "" {
				t.Errorf("the other host got a request for %s with %v", r.RequestURI, r.Header)
			}
		})
	}
}

func TestRedirectRefused(t *testing.T) {
	plain := serve(t, content([]byte("never seen")))
	tests := map[string]struct{ target, want string }{
		"https to http": {plain.URL + "/x?s3cret", "it leads from https to http, to " +
			plain.URL + "/x?***"},
		"to a file":          {"file:///etc/passwd", "redirect refused"},
		"to another scheme":  {"ftp://host/s3cret", `it leads to "ftp"`},
		"to an invalid URL":  {"https://%zz/s3cret", "its target is not a valid URL"},
		"in a loop":          {"", "more than 10 in a row"},
		"to no host":         {"https:///s3cret", "its target is not a valid URL"},
		"echo of the secret": {"ftp://host/?t0ken-of-the-repository", "redirect refused"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := serveTLS(t, to(func(*http.Request) string {
				return tc.target + map[bool]string{true: "/again"}[tc.target == ""]
			}))
			c := soon(fetch.Options{Transport: s.Client().Transport})
			got, err := c.Bytes(t.Context(), location(t, s.URL+"/a?t0ken-of-the-repository"), 99)
			if !errors.Is(err, fetch.ErrRedirect) || got != nil ||
				!strings.Contains(err.Error(), tc.want) {
				t.Errorf("Bytes = %q, %v", got, err)
			}
			if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "t0ken") {
				t.Errorf("error shows a secret: %v", err)
			}
			if most := 11; len(s.asked()) > most {
				t.Errorf("%d requests", len(s.asked()))
			}
		})
	}
	if len(plain.asked()) > 0 {
		t.Error("the http server got a request")
	}
}

func TestErrorAfterRedirectNamesBothPlaces(t *testing.T) {
	other := serve(t, status(403))
	s := serve(t, to(func(*http.Request) string { return other.URL + "/b?signature" }))
	_, err := soon(fetch.Options{}).Bytes(t.Context(), location(t, s.URL+"/a?t0ken"), 9)
	want := s.URL + "/a?*** redirects: " + other.URL + "/b?***: 403 Forbidden: check the user, " +
		"password or token for that URL"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// Credentials follow from http to https on the same host and the default ports, and to no other
// port or name.
func TestRedirectCredentials(t *testing.T) {
	for _, tc := range []struct {
		from, to string
		kept     bool
	}{
		{"http://host/a", "https://host/b", true},
		{"http://host:80/a", "https://HOST:443/b", true},
		{"https://host/a", "https://host:443/b", true},
		{"https://host/a", "https://host:444/b", false},
		{"http://host:8080/a", "https://host/b", false},
		{"https://host/a", "https://sub.host/b", false},
		{"https://sub.host/a", "https://host/b", false},
	} {
		var last *http.Request
		c := soon(fetch.Options{
			Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if last = r; strings.HasSuffix(r.URL.Path, "/b") {
					return respond(200, strings.NewReader("ok")), nil
				}
				res := respond(301, http.NoBody)
				res.Header.Set("Location", tc.to)
				return res, nil
			})})
		if _, err := c.Bytes(t.Context(), location(t, tc.from).WithCredentials("me", "pass"),
			9); err != nil {
			t.Fatal(err)
		}
		if _, _, sent := last.BasicAuth(); sent != tc.kept {
			t.Errorf("%s to %s: credentials sent %v", tc.from, tc.to, sent)
		}
	}
}
