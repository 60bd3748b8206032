package fetch_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/download/fetch"
)

func TestParseLocation(t *testing.T) {
	tests := map[string]struct {
		raw          string
		shown        string // String
		stable, path string // Stable, LocalPath
	}{
		"https": {raw: "https://host/a/b", shown: "https://host/a/b",
			stable: "https://host/a/b"},
		"token": {raw: "https://host/a/?tok-en", shown: "https://host/a/?***",
			stable: "https://host/a/"},
		"user": {raw: "HTTP://u:p%40@host:81/a", shown: "http://***@host:81/a",
			stable: "http://host:81/a"},
		"both": {raw: "https://u@host?t=1&u=2", shown: "https://***@host?***",
			stable: "https://host"},
		"escapes stay": {raw: "https://host/a%2Fb", shown: "https://host/a%2Fb",
			stable: "https://host/a%2Fb"},
		"space around": {raw: " https://u:p@host/a\t", shown: "https://***@host/a",
			stable: "https://host/a"},
		"IPv6": {raw: "http://[::1]:8080/", shown: "http://[::1]:8080/",
			stable: "http://[::1]:8080/"},
		"absolute": {raw: "/srv//repo/", shown: "/srv/repo", stable: "/srv/repo",
			path: "/srv/repo"},
		"relative": {raw: "../repo", shown: "/base/repo", stable: "../repo",
			path: "/base/repo"},
		"file": {raw: "file:///srv/a%20b", shown: "/srv/a b",
			stable: "file:///srv/a%20b", path: "/srv/a b"},
		"file, short": {raw: "file:/srv", shown: "/srv", stable: "file:///srv", path: "/srv"},
		"file, localhost": {raw: "file://localhost/srv", shown: "/srv", stable: "file:///srv",
			path: "/srv"},
		"OBS project": {raw: "home:me", shown: "/base/dir/home:me", stable: "home:me",
			path: "/base/dir/home:me"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l, err := fetch.ParseLocation(tc.raw, "/base/dir")
			if err != nil {
				t.Fatal(err)
			}
			if l.String() != tc.shown || l.Stable() != tc.stable || l.LocalPath() != tc.path ||
				l.IsLocal() != (tc.path != "") {
				t.Errorf("String %q, Stable %q, LocalPath %q, IsLocal %v", l.String(), l.Stable(),
					l.LocalPath(), l.IsLocal())
			}
			again, err := fetch.ParseLocation(l.Stable(), "/base/dir")
			if err != nil || again.Stable() != l.Stable() || again.LocalPath() != l.LocalPath() {
				t.Errorf("Stable parsed again: %v, %v", again, err)
			}
		})
	}
}

func TestParseLocationErrors(t *testing.T) {
	tests := map[string]struct{ raw, want string }{
		"nothing":  {"", "no URL or path"},
		"too long": {"https://host/" + strings.Repeat("x", 20_000), "too long"},
		"other scheme": {"ftp://u:s3cret@host/a?s3cret",
			`ftp://***@host/a?***: "ftp:" is not supported`},
		"plugin": {"plugin:/susecloud?credentials=s3cret",
			`plugin:/susecloud?***: "plugin:" is not supported`},
		"no host":  {"https:///a?s3cret", "https:///a?***: URL without a host"},
		"bad port": {"https://u:s3/cret@host/", "https://***@host/: not a valid URL"},
		"bad escape": {"https://u:s3cret%zz@host/?s3cret",
			"https://***@host/?***: not a valid URL"},
		"password with ?": {"https://u:s3?cret@host/", "https://***: not a valid URL"},
		"password with #": {"https://user:12#s3cret@host/",
			"https://***: '#' must be written %23"},
		"space in password":   {"https://u:s3 cret@host/", "https://***@host/: not a valid URL"},
		"control character":   {"https://u:s3cret@host/\x1b[31m?s3cret", "control character"},
		"newline in a path":   {"/srv/\nrepo", "control character"},
		"file on other host":  {"file://host/srv", "write file:///path"},
		"file with a query":   {"file:///srv?s3cret", "not a valid file URL"},
		"file, bad escape":    {"file:///%zz", "not a valid file URL"},
		"file, NUL in escape": {"file:///%00", "not a valid file URL"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l, err := fetch.ParseLocation(tc.raw, "")
			if err == nil || !l.IsZero() || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("ParseLocation = %v, %v", l, err)
			}
			for _, secret := range []string{"s3cret", "s3/cret", "s3 cret", "s3?cret"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("error shows the secret: %v", err)
				}
			}
		})
	}
	if _, err := fetch.ParseLocation("ftp://host/", ""); !errors.Is(err, fetch.ErrUnsupported) {
		t.Errorf("other scheme: %v", err)
	}
}

func TestJoin(t *testing.T) {
	tests := map[string]struct{ base, rel, shown, stable string }{
		"keeps the token": {"https://host/repo?token", "repodata/repomd.xml",
			"https://host/repo/repodata/repomd.xml?***", "https://host/repo/repodata/repomd.xml"},
		"slashes": {"https://host/repo///", "./x//y.rpm", "https://host/repo/x/y.rpm",
			"https://host/repo/x/y.rpm"},
		"no path": {"https://host", "x", "https://host/x", "https://host/x"},
		"escapes of base": {"https://host/a%2Fb/", "x", "https://host/a%2Fb/x",
			"https://host/a%2Fb/x"},
		"literal": {"https://host/r", "g++-1~b^c 100%25?.rpm",
			"https://host/r/g%2B%2B-1~b%5Ec%20100%2525%3F.rpm",
			"https://host/r/g%2B%2B-1~b%5Ec%20100%2525%3F.rpm"},
		"local": {"/srv/repo/", "x86_64/a%20b.rpm", "/srv/repo/x86_64/a%20b.rpm",
			"/srv/repo/x86_64/a%20b.rpm"},
		"local relative":    {"repo", "x", "/base/repo/x", "repo/x"},
		"local, from file:": {"file:///srv", "a b", "/srv/a b", "file:///srv/a%20b"},
		"root":              {"/", "x", "/x", "/x"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			base, err := fetch.ParseLocation(tc.base, "/base")
			if err != nil {
				t.Fatal(err)
			}
			got, err := base.Join(tc.rel)
			if err != nil || got.String() != tc.shown || got.Stable() != tc.stable {
				t.Errorf("Join = %v, stable %s, %v", got, got.Stable(), err)
			}
			if base.String() == got.String() {
				t.Error("Join changed its receiver")
			}
		})
	}
}

func TestJoinRefusesWhatLeadsElsewhere(t *testing.T) {
	for _, base := range []string{"https://host/repo?token", "/srv/repo"} {
		for _, rel := range []string{"", ".", "..", "../x", "a/../../x", "a/../x", "/etc/passwd",
			"https://other/x",
			"file:/etc/passwd", "a\x00b", "a\nb", strings.Repeat("x", 20_000)} {
			got, err := location(t, base).Join(rel)
			if !errors.Is(err, fetch.ErrUnsafePath) || !got.IsZero() {
				t.Errorf("Join(%.40q) = %v, %v", rel, got, err)
			}
		}
	}
	if got, err := (fetch.Location{}).Join("x"); err == nil {
		t.Errorf("Join to nowhere = %v", got)
	}
}

// However a location is printed or encoded, alone or inside another value, its secrets do not show.
func TestLocationHidesItsSecrets(t *testing.T) {
	l := location(t, "https://user:passw0rd@host/path?t0ken=va1ue").WithCredentials("name", "w0rd")
	inside := struct {
		private fetch.Location
		Public  []fetch.Location
	}{l, []fetch.Location{l}}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("text", "l", l, "in", inside)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("json", "l", l, "in", inside)
	data, err := json.Marshal(inside)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{log.String(), string(data)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		texts = append(texts, fmt.Sprintf(verb, l), fmt.Sprintf(verb, &l),
			fmt.Sprintf(verb, inside), fmt.Sprintf(verb, &inside))
	}
	for _, text := range texts {
		for _, secret := range []string{"user", "passw0rd", "name", "w0rd", "t0ken", "va1ue",
			"773072"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows %q", text, secret)
			}
		}
	}
	if got := string(data); got != `{"Public":["https://host/path"]}` {
		t.Errorf("JSON %s", got)
	}
}

func TestWithCredentialsOfLocal(t *testing.T) {
	l := location(t, "/srv/repo")
	if got := l.WithCredentials("u", "p"); !got.Equal(l) {
		t.Errorf("the local location changed to %v", got)
	}
}

func TestLocationEqual(t *testing.T) {
	same := []fetch.Location{
		{}, location(t, "/a"), location(t, "/b"), location(t, "https://h/"),
		location(t, "https://h/?t"),
		location(t, "https://u@h/"), location(t, "https://u:p@h/"),
	}
	for i, a := range same {
		for j, b := range same {
			if a.Equal(b) != (i == j) {
				t.Errorf("%v Equal %v = %v", a, b, a.Equal(b))
			}
		}
	}
	if d := cmp.Diff(location(t, "https://u:p@h/?t"), location(t, "https://u:p@h/?t")); d != "" {
		t.Errorf("parsed twice:\n%s", d)
	}
	if !location(t, "/a").Equal(location(t, "/a")) {
		t.Error("a path does not equal itself")
	}
}

func TestRedact(t *testing.T) {
	for raw, want := range map[string]string{
		"https://host/path":             "https://host/path",
		"https://u:p@host/path?token":   "https://***@host/path?***",
		"https://u:p@x@host/":           "https://***@host/",
		"https://host/p?mail=a@b":       "https://***",
		"https://host/p#part":           "https://host/p?***",
		"plugin:/cloud?credentials=x":   "plugin:/cloud?***",
		"not a URL: at all, a@b?c":      "not a URL: at all, a@b?c",
		"https:/u:p@one-slash/x":        "https:/***@one-slash/x",
		"HTTPS://U:P@Host/":             "https://***@Host/",
		"https://":                      "https://",
		"https://u:p@":                  "https://***@",
		"https://\xff\xfe:p@host/?\xff": "https://***@host/?***",
	} {
		if got := fetch.Redact(raw); got != want {
			t.Errorf("Redact(%q) = %q, want %q", raw, got, want)
		}
	}
}

func FuzzParseLocation(f *testing.F) {
	for _, raw := range []string{"https://u:p@host/a?t", "file:///a%20b", "dir/x", "ftp://h/",
		"https://[::1]:80/%2F?a=b&c",
		"https://u:12#x@h/", "http://h/\x7f", "HTTPS:/x", "https://%zz@h"} {
		f.Add(raw, "repodata/x.xml")
	}
	f.Add("https://host/repo?token", "../../x")
	f.Fuzz(func(t *testing.T, raw, rel string) {
		l, err := fetch.ParseLocation(raw, "/base")
		if err != nil {
			if !l.IsZero() {
				t.Fatalf("got both %v and an error", l)
			}
			return
		}
		if !l.IsLocal() && strings.ContainsAny(strings.ReplaceAll(l.Stable(), "[", ""), "?#") {
			t.Errorf("Stable %q has a query", l.Stable())
		}
		if joined, err := l.Join(rel); err == nil &&
			!strings.HasPrefix(joined.Stable(), strings.TrimRight(l.Stable(), "/")+"/") {
			t.Errorf("%v joined with %q is %v", l, rel, joined)
		}
		again, err := fetch.ParseLocation(l.Stable(), "/base")
		if err != nil || again.Stable() != l.Stable() {
			t.Errorf("%q parsed again: %q, %v", l.Stable(), again.Stable(), err)
		}
	})
}
