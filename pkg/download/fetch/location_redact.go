package fetch

import (
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strings"
)

// hidden replaces a secret.
const hidden = "***"

// String returns l for messages, logs and reports. User info and query are hidden, as in
// "https://***@host/path?***"; a local location is an absolute path.
func (l Location) String() string {
	p := l.at()
	if p.url == nil {
		return p.path
	}
	s := l.Stable()
	if p.user != "" || p.password != "" {
		scheme, rest, _ := strings.Cut(s, "://")
		s = scheme + "://" + hidden + "@" + rest
	}
	if p.url.RawQuery != "" {
		s += "?" + hidden
	}
	return s
}

// Stable returns l for files that are kept and compared: without user info and query, and with a
// relative path as given. [ParseLocation] parses it.
func (l Location) Stable() string {
	u := l.at().url
	if u == nil {
		return l.at().written
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// GoString hides the secrets from %#v.
func (l Location) GoString() string { return "fetch.Location(" + l.String() + ")" }

// MarshalText returns the form of [Location.Stable].
func (l Location) MarshalText() ([]byte, error) { return []byte(l.Stable()), nil }

// Redact returns the parts of a possibly invalid URL that may be shown: user info, query and
// fragment are hidden. Text without a scheme is returned as it is.
func Redact(raw string) string {
	scheme := schemeOf(raw)
	if scheme == "" {
		return raw
	}
	rest := raw[len(scheme)+1:]
	slashes := rest[:len(rest)-len(strings.TrimLeft(rest, "/"))]
	rest = rest[len(slashes):]
	prefix := scheme + ":" + slashes
	at, end := strings.LastIndexByte(rest, '@'), strings.IndexAny(rest, "?#")
	if at >= 0 && end >= 0 && end < at {
		return prefix + hidden // may be a password with '?' in it, or a query with '@'
	}
	if at >= 0 {
		prefix += hidden + "@"
		rest = rest[at+1:]
		end -= at + 1
	}
	if end >= 0 {
		rest = rest[:end] + "?" + hidden
	}
	return prefix + rest
}

// Secrets shorter than these are hidden where a URL is printed, but are not searched for in other
// texts, where they would match every word.
const (
	minSecret = 3 // of user info
	minToken  = 6 // of one query parameter
)

// secrets returns every text of l that must not be shown, longest first.
func (l Location) secrets() []string {
	p := l.at()
	if p.url == nil {
		return nil
	}
	var all []string
	add := func(texts ...string) {
		for _, s := range texts {
			all = append(all, s, url.QueryEscape(s), url.PathEscape(s))
		}
	}
	if p.user != "" || p.password != "" {
		add(p.user, p.password, url.UserPassword(p.user, p.password).String())
		all = append(all, base64.StdEncoding.EncodeToString([]byte(p.user+":"+p.password)))
	}
	add(p.url.RawQuery)
	for part := range strings.SplitSeq(p.url.RawQuery, "&") {
		value := part // a bare token; the name of a parameter is not secret
		if _, after, hasName := strings.Cut(part, "="); hasName {
			value = after
		}
		if len(value) >= minToken {
			plain, _ := url.QueryUnescape(value)
			add(part, value, plain)
		}
	}
	all = slices.DeleteFunc(all, func(s string) bool { return len(s) < minSecret })
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return slices.Compact(all)
}

// hide returns text without the secrets of l.
func (l Location) hide(text string) string {
	for _, secret := range l.secrets() {
		text = strings.ReplaceAll(text, secret, hidden)
	}
	return text
}

// guard returns err if its text contains none of l's secrets, or else an error with the same text
// without them.
func (l Location) guard(err error) error {
	//nolint:errorlint // only err itself, not one inside
	if ue, ok := errors.AsType[*url.Error](err); ok && error(ue) == err {
		err = ue.Err // shows the URL
	}
	if err == nil {
		return nil
	}
	text := err.Error()
	_, isURL := errors.AsType[*url.Error](err)
	if safe := l.hide(text); safe != text || isURL {
		return &hiddenError{safe, err, l}
	}
	return err
}

// hiddenError is an error whose own text would show a secret. It supports errors.Is and errors.As,
// but not Unwrap.
type hiddenError struct {
	text  string
	inner error
	from  Location
}

func (e *hiddenError) Error() string { return e.text }

// GoString hides what %#v would show of the inner error.
func (e *hiddenError) GoString() string { return e.text }

func (e *hiddenError) Is(target error) bool { return errors.Is(e.inner, target) }

func (e *hiddenError) As(target any) bool {
	switch want := target.(type) {
	case **StatusError:
		inner, ok := errors.AsType[*StatusError](e.inner)
		if ok {
			safe := *inner
			safe.URL = e.from.hide(inner.URL)
			*want = &safe
		}
		return ok
	case **connError: // this package's own
		return errors.As(e.inner, target)
	}
	return false
}
