package fetch

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// ErrUnsupported means that a location has a scheme that cannot be fetched.
var ErrUnsupported = errors.New("not supported")

// ErrUnsafePath means that a path, once joined to a location, would leave it.
var ErrUnsafePath = errors.New("path leads out of its directory")

// Location is a URL or path, with the secrets needed to fetch it. However it is printed or encoded,
// its secrets stay hidden: the user info and the query of its URL. The zero Location is nowhere.
type Location struct {
	p **place // a pointer, since fmt prints only its address where it cannot call String
}

func locate(p *place) Location { return Location{&p} }

// at returns the place that l points to; for the zero Location, an empty one.
func (l Location) at() *place {
	if l.p == nil {
		return &place{}
	}
	return *l.p
}

// place is the target of a Location. It is immutable.
type place struct {
	url            *url.URL // without user info and fragment; nil for local files
	user, password string
	path           string // absolute path of a local file
	written        string // the local path as given
}

// maxLocation bounds the text of a location.
const maxLocation = 16 << 10

// ParseLocation parses an http:, https: or file: URL, or a path. A relative path is relative to
// baseDir, or to the current directory if that is empty. Errors hide possible secrets.
func ParseLocation(raw, baseDir string) (Location, error) {
	if trimmed := strings.TrimSpace(raw); schemeOf(trimmed) != "" {
		raw = trimmed
	}
	switch scheme := schemeOf(raw); {
	case raw == "":
		return Location{}, errors.New("no URL or path given")
	case len(raw) > maxLocation:
		return Location{}, fmt.Errorf("URL or path of %d bytes is too long", len(raw))
	case strings.ContainsFunc(raw, isControl):
		return Location{}, fmt.Errorf("%q: there is a control character in the URL or path",
			Redact(raw))
	case scheme == "http" || scheme == "https":
		return parseURL(raw)
	case scheme == "file":
		return parseFileURL(raw)
	case scheme != "":
		return Location{}, fmt.Errorf("%s: %q is %w: use https, http, file or a path", Redact(raw),
			scheme+":", ErrUnsupported)
	}
	name := filepath.Clean(raw)
	abs := name
	if !filepath.IsAbs(abs) {
		var err error
		if abs, err = filepath.Abs(filepath.Join(baseDir, name)); err != nil {
			return Location{}, err
		}
	}
	return locate(&place{path: abs, written: filepath.ToSlash(name)}), nil
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

// schemeOf returns the scheme of a URL in lower case. Text without a slash after the colon is a
// path, since OBS projects have colons in their names.
func schemeOf(raw string) string {
	scheme, rest, found := strings.Cut(raw, ":")
	if !found || !strings.HasPrefix(rest, "/") || scheme == "" {
		return ""
	}
	for i, r := range strings.ToLower(scheme) {
		if (r < 'a' || r > 'z') && (i == 0 || !strings.ContainsRune("0123456789+-.", r)) {
			return ""
		}
	}
	return strings.ToLower(scheme)
}

// parseURL parses an http or https URL. Errors of package url quote the offending text, so none is
// passed on.
func parseURL(raw string) (Location, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return Location{}, fmt.Errorf("%s: not a valid URL: check its host, port, %%-escapes and "+
			"user info", Redact(raw))
	}
	if u.Hostname() == "" {
		return Location{}, fmt.Errorf("%s: URL without a host", Redact(raw))
	}
	if u.Fragment != "" {
		return Location{}, fmt.Errorf("%s: '#' must be written %%23 in a URL", Redact(raw))
	}
	p := &place{user: u.User.Username()}
	p.password, _ = u.User.Password()
	u.User = nil
	p.url = u
	return locate(p), nil
}

// parseFileURL parses file:///path, file:/path and file://localhost/path.
func parseFileURL(raw string) (Location, error) {
	u, err := url.Parse(raw)
	if err != nil || u.RawQuery != "" || u.Fragment != "" ||
		strings.ContainsFunc(u.Path, isControl) {
		return Location{}, fmt.Errorf("%s: not a valid file URL", Redact(raw))
	}
	if u.Host != "" && u.Host != "localhost" {
		return Location{}, fmt.Errorf("%s: file URL with a host: write file:///path", Redact(raw))
	}
	abs := filepath.Clean(u.Path)
	return locate(&place{path: abs, written: (&url.URL{Scheme: "file", Path: abs}).String()}), nil
}

// Join returns the location of rel below l. rel is a path as repositories write it, not a URL:
// relative, without "..", and taken literally. The query of l, which may be a token, is kept. The
// error wraps [ErrUnsafePath].
func (l Location) Join(rel string) (Location, error) {
	if l.IsZero() {
		return Location{}, errors.New("no location to join a path to")
	}
	rel, err := cleanRelative(rel)
	if err != nil {
		return Location{}, err
	}
	p := *l.at()
	if p.url == nil {
		p.path = filepath.Join(p.path, filepath.FromSlash(rel))
		if schemeOf(p.written) == "file" {
			rel = (&url.URL{Path: "/" + rel}).EscapedPath()[1:]
		}
		p.written = strings.TrimSuffix(p.written, "/") + "/" + rel
		return locate(&p), nil
	}
	u := *p.url
	// '+' means the same escaped or not, except on object stores, which read a bare one as a space.
	escaped := strings.ReplaceAll((&url.URL{Path: "/" + rel}).EscapedPath(), "+", "%2B")
	u.RawPath = strings.TrimRight(p.url.EscapedPath(), "/") + escaped
	if u.Path, err = url.PathUnescape(u.RawPath); err != nil {
		return Location{}, fmt.Errorf("%s: its path cannot be read", l)
	}
	p.url = &u
	return locate(&p), nil
}

// cleanRelative returns rel without empty and "." elements, and rejects paths that could lead
// elsewhere.
func cleanRelative(rel string) (string, error) {
	clean := path.Clean(rel)
	switch {
	case rel == "" || clean == "." || len(rel) > maxLocation:
		return "", fmt.Errorf("%.200q: %w: it names no file", rel, ErrUnsafePath)
	case path.IsAbs(rel) || schemeOf(rel) != "":
		return "", fmt.Errorf("%.200q: %w: it is not relative", Redact(rel), ErrUnsafePath)
	case slices.Contains(strings.Split(rel, "/"), "..") || strings.ContainsFunc(rel, isControl):
		return "", fmt.Errorf("%.200q: %w", rel, ErrUnsafePath)
	}
	return clean, nil
}

// WithCredentials returns l with a user and a password for HTTP basic authentication. A local l is
// returned unchanged.
func (l Location) WithCredentials(user, password string) Location {
	if l.at().url == nil {
		return l
	}
	p := *l.at()
	p.user, p.password = user, password
	return locate(&p)
}

// Equal reports whether two locations are the same, secrets included.
func (l Location) Equal(o Location) bool {
	a, b := *l.at(), *o.at()
	if (a.url == nil) != (b.url == nil) || a.url != nil && a.url.String() != b.url.String() {
		return false
	}
	a.url, b.url = nil, nil
	return a == b
}

// IsZero reports whether l is nowhere.
func (l Location) IsZero() bool { return l.p == nil }

// IsLocal reports whether l is a local file or directory.
func (l Location) IsLocal() bool { return l.p != nil && l.at().url == nil }

// LocalPath returns the absolute path of a local location, or "".
func (l Location) LocalPath() string { return l.at().path }

// redirect returns the target of a server's redirect. Credentials and the token in the query stay
// with the host they were given for; the server decides what else the new query has.
func (l Location) redirect(target string) (Location, error) {
	p := l.at()
	u, err := p.url.Parse(target)
	if err != nil || u.Hostname() == "" {
		return Location{}, l.guard(fmt.Errorf("%s: %w: its target is not a valid URL", l,
			ErrRedirect))
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	next := &place{url: u}
	switch {
	case p.url.Scheme == "https" && u.Scheme == "http":
		return Location{}, l.guard(fmt.Errorf("%s: %w: it leads from https to http, to %s", l,
			ErrRedirect, locate(next)))
	case u.Scheme != "https" && u.Scheme != "http":
		return Location{}, l.guard(fmt.Errorf("%s: %w: it leads to %q, which is neither https "+
			"nor http", l, ErrRedirect, u.Scheme))
	case sameHost(p.url, u):
		next.user, next.password = p.user, p.password
	case p.url.RawQuery != "":
		own := strings.Split(p.url.RawQuery, "&")
		parts := slices.DeleteFunc(strings.Split(u.RawQuery, "&"),
			func(s string) bool { return slices.Contains(own, s) })
		u.RawQuery = strings.Join(parts, "&")
	}
	return locate(next), nil
}
