// Package fetch copies content from HTTP or HTTPS URLs or local files into memory or into the
// store.
//
// It guarantees that a download enters the store with the expected digest or not at all; that an
// interrupted download resumes, even after the process was killed; that it gives up in bounded time
// on a server that sends too much, too slowly or nothing; and that no password or token appears in
// an error, a log or a lock (see [Location]).
//
// Connections are verified with the system's certificates, and verification cannot be turned off.
// The proxies of HTTP_PROXY, HTTPS_PROXY and NO_PROXY are used. Package fetch knows nothing about
// the content: signatures and metadata are up to its callers.
package fetch

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Options configure a [Client]. The zero value suits most callers.
type Options struct {
	// retries in a row without progress; 0 means 4, negative means none
	Retries int
	// limit on the time without data before a transfer is given up; 0 means 30 s
	StallTimeout time.Duration
	// limit on the time to connect and to get the response header; 0 means 60 s
	HeaderTimeout time.Duration
	// limit on a download of unknown size, in bytes; 0 means 8 GiB
	MaxSize   int64
	UserAgent string // "" means "lpbuild"
	// nil means the client's own, as the package comment says
	Transport http.RoundTripper
	LookupIP  LookupIP // nil means the system's resolver
	// pause before attempt+1, from 1; nil means 0.3 s doubled up to 15 s, with jitter
	Backoff func(attempt int) time.Duration
}

// LookupIP returns the addresses of a host.
type LookupIP func(ctx context.Context, host string) ([]netip.Addr, error)

// Client fetches files. It may be used by several goroutines at once, and should be shared, since
// it keeps connections.
type Client struct {
	o Options
}

// New returns a client.
func New(o Options) *Client {
	o.Retries = max(0, cmp.Or(o.Retries, 4))
	o.StallTimeout = cmp.Or(o.StallTimeout, 30*time.Second)
	o.HeaderTimeout = cmp.Or(o.HeaderTimeout, time.Minute)
	o.MaxSize = cmp.Or(o.MaxSize, 8<<30)
	o.UserAgent = cmp.Or(o.UserAgent, "lpbuild")
	if o.Transport == nil {
		o.Transport = newTransport()
	}
	if o.LookupIP == nil {
		o.LookupIP = lookupIP
	}
	if o.Backoff == nil {
		o.Backoff = backoff
	}
	return &Client{o}
}

// backoff doubles from 0.3 s to 15 s and subtracts a random part of up to one half, so that clients
// that failed together do not retry together.
func backoff(attempt int) time.Duration {
	full := min(300*time.Millisecond<<min(attempt-1, 10), 15*time.Second)
	return full/2 + rand.N(full/2) //nolint:gosec // spreads load, protects nothing
}

func newTransport() http.RoundTripper {
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dial(dialer),
		TLSHandshakeTimeout:    30 * time.Second,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // the digest is that of the data as sent
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 1 << 20,
	}
}
