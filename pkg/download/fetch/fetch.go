// Package fetch gets content from where it is, over HTTP or HTTPS or from a local folder, into memory or into the store.
//
// The laws it keeps: a download ends up in the store as what its digest names, or not at all; one that was interrupted,
// even by the death of the process, goes on where it stopped; a server that sends too much, too slowly or nothing is
// given up in bounded time; and no password and no token appears in an error, a log or a lock, see [Location].
//
// Connections are verified with the certificates of the system, and there is no switch to turn that off. The proxies of
// HTTP_PROXY, HTTPS_PROXY and NO_PROXY are used. Package fetch knows nothing about what it fetches: signatures and
// metadata are for its callers.
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

// Options change how a [Client] works. The zero value is right for most.
type Options struct {
	Retries       int                             // more tries in a row without progress; 0: 4, negative: none
	StallTimeout  time.Duration                   // a transfer in which nothing arrives for so long is broken off; 0: 30 s
	HeaderTimeout time.Duration                   // time to connect and to get the answer's header; 0: 60 s
	MaxSize       int64                           // most bytes of a download whose size is not known; 0: 8 GiB
	UserAgent     string                          // empty: "lpbuild"
	Transport     http.RoundTripper               // nil: one of its own, as the package comment says
	LookupIP      LookupIP                        // nil: the system's
	Backoff       func(attempt int) time.Duration // pause before try attempt+1, from 1; nil: 0.3 s doubled up to 15 s, jittered
}

// LookupIP returns the addresses of a host.
type LookupIP func(ctx context.Context, host string) ([]netip.Addr, error)

// Client fetches. It may be used by many goroutines at once, and should be shared: it keeps connections.
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

// backoff doubles from 0.3 s to 15 s and takes a random half of that away, so that clients that failed together do not
// come back together.
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
		DisableCompression:     true, // what arrives must be what the digest was made of
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 1 << 20,
	}
}
