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
	// ErrNotFound means that nothing exists at a location: status 404 or 410, or no such file.
	ErrNotFound = errors.New("not found")
	// ErrRedirect means that a server redirected the client to a forbidden place: from https to
	// http, to something other than HTTP, from a public address to a private one, or in a loop.
	ErrRedirect = errors.New("redirect refused")
	// ErrTooLarge means that the content is larger than the caller allows or expects. It is the
	// store's error.
	ErrTooLarge = store.ErrTooLarge
	// ErrStalled means that no data arrived for too long.
	ErrStalled = errors.New("transfer stalled")
)

// StatusError is an answer with an unexpected status.
type StatusError struct {
	Code int    // HTTP status, for example 403
	URL  string // the server that answered, with secrets hidden

	retryAfter time.Duration // delay that the server asks for; 0 if none
}

// Error returns the URL, the code and its meaning.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s: %d %s", e.URL, e.Code, http.StatusText(e.Code))
	switch e.Code {
	case http.StatusUnauthorized, http.StatusForbidden:
		text += ": check the user, password or token for that URL"
	case http.StatusProxyAuthRequired:
		text += ": check the user and password in HTTP_PROXY or HTTPS_PROXY"
	}
	return text
}

// Is makes 404 and 410 match [ErrNotFound].
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

// newStatusError turns an answer into an error.
func newStatusError(res *http.Response, from Location) *StatusError {
	return &StatusError{Code: res.StatusCode, URL: from.String(),
		retryAfter: retryAfter(res.Header.Get("Retry-After"))}
}

// retryAfter parses seconds or a date, capped at maxRetryAfter from now.
func retryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, min(time.Until(date), maxRetryAfter))
	}
	return 0
}

// connError is a failure of the connection rather than of the request.
type connError struct{ err error }

func (e *connError) Error() string { return e.err.Error() }
func (e *connError) Unwrap() error { return e.err }

// trusting adds to a certificate error how to trust another authority.
func trusting(err error) error {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); !ok {
		return err
	}
	return fmt.Errorf("%w: its authority is not among the system's certificates; set "+
		"SSL_CERT_FILE to a file or SSL_CERT_DIR to a directory of certificates to use in their "+
		"place", err)
}

// temporary reports whether another attempt may succeed: the server said so, or the connection
// failed for a reason that may pass.
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

// lasting reports whether a connection error is bound to recur.
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
