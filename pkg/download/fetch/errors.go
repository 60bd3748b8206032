package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/lpbuild/lpbuild/pkg/download/store"
)

var (
	// ErrNotFound says that there is nothing at that place: status 404 or 410, or no such file.
	ErrNotFound = errors.New("not found")
	// ErrRedirect says that a server sent the client on to where it must not go: from https to http, to something
	// that is not HTTP, from a public address to one that is not, or round in circles.
	ErrRedirect = errors.New("redirect refused")
	// ErrTooLarge says that there is more than the caller allows or expects. It is the store's.
	ErrTooLarge = store.ErrTooLarge
	// ErrStalled says that nothing arrived for too long.
	ErrStalled = errors.New("transfer stalled")
)

// StatusError is an answer that is not what was asked for.
type StatusError struct {
	Code int    // HTTP status, for example 403
	URL  string // that answered, secrets hidden

	retryAfter time.Duration // what the server asks for, 0 if nothing
}

// Error returns the URL, the code and its meaning.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s: %d %s", e.URL, e.Code, http.StatusText(e.Code))
	switch e.Code {
	case http.StatusUnauthorized, http.StatusForbidden:
		text += ": check the user, password or token for it"
	case http.StatusProxyAuthRequired:
		text += ": check the user and password in HTTP_PROXY or HTTPS_PROXY"
	}
	return text
}

// Is makes 404 and 410 an [ErrNotFound].
func (e *StatusError) Is(target error) bool {
	return target == ErrNotFound && (e.Code == http.StatusNotFound || e.Code == http.StatusGone)
}

// Temporary reports whether the same request may succeed later.
func (e *StatusError) Temporary() bool {
	switch e.Code {
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusTooEarly:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return e.Code >= 500
}

// maxRetryAfter bounds how long a server can make the client wait.
const maxRetryAfter = 2 * time.Minute

// newStatusError makes an error of an answer.
func newStatusError(res *http.Response, from Location) *StatusError {
	return &StatusError{Code: res.StatusCode, URL: from.String(), retryAfter: retryAfter(res.Header.Get("Retry-After"))}
}

// retryAfter reads seconds or a date, at most maxRetryAfter from now.
func retryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, min(time.Until(date), maxRetryAfter))
	}
	return 0
}

// connError is what went wrong with the connection rather than with the request.
type connError struct{ err error }

func (e *connError) Error() string { return e.err.Error() }
func (e *connError) Unwrap() error { return e.err }

// trusting adds to an error about a certificate how to have another authority believed.
func trusting(err error) error {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); !ok {
		return err
	}
	return fmt.Errorf("%w: the system's certificates do not have its authority; those of a file (SSL_CERT_FILE) or of a directory "+
		"(SSL_CERT_DIR) are used in their place if the variable is set", err)
}

// temporary reports whether trying again may help: the server said so, or the connection broke for a reason that is not
// bound to come back.
func temporary(err error) bool {
	if status, ok := errors.AsType[*StatusError](err); ok {
		return status.Temporary()
	}
	if errors.Is(err, ErrStalled) {
		return true
	}
	conn, ok := errors.AsType[*connError](err)
	return ok && !lasting(conn.err)
}

// lasting reports whether an error of the connection will be the same the next time.
func lasting(err error) bool {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.IsNotFound
	}
	var (
		verification *tls.CertificateVerificationError
		authority    x509.UnknownAuthorityError
		invalid      x509.CertificateInvalidError
		hostname     x509.HostnameError
		notTLS       tls.RecordHeaderError
		alert        tls.AlertError
	)
	for _, target := range []any{&verification, &authority, &invalid, &hostname, &notTLS, &alert} {
		if errors.As(err, target) {
			return true
		}
	}
	return errors.Is(err, context.Canceled) || errors.Is(err, ErrRedirect)
}
