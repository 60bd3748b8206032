package fetch

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxRedirects is the number of times that one request may be redirected.
const maxRedirects = 10

// answer is the header and the body of a response, watched for progress.
type answer struct {
	*http.Response
	from   Location // the location that answered, after redirects
	expect *watchdog
}

// get requests l, from the byte at offset on, and follows redirects. The caller closes the answer.
// An answer with any status is not an error.
func (c *Client) get(ctx context.Context, l Location, offset int64) (*answer, error) {
	ctx, dog := watch(ctx)
	from := l
	for range maxRedirects + 1 {
		dog.within(c.o.HeaderTimeout)
		res, err := c.roundTrip(ctx, from, offset)
		if err != nil {
			err = &connError{trusting(dog.reason(err))}
			dog.stop()
			return nil, from.guard(via(l, from, fmt.Errorf("%s: %w", from, err)))
		}
		dog.within(c.o.StallTimeout)
		target := res.Header.Get("Location")
		if !slices.Contains(redirects, res.StatusCode) || target == "" {
			return &answer{res, from, dog}, nil
		}
		// the connection can be reused if that was all
		_, _ = io.CopyN(io.Discard, res.Body, 16<<10)
		res.Body.Close()
		next, err := from.redirect(target)
		if err == nil {
			err = c.MayLead(ctx, l, next, false)
		}
		if err != nil {
			dog.stop()
			return nil, err
		}
		if _, is := c.inside(ctx, l.at().url.Hostname()); !is {
			ctx = outside(ctx, next)
		}
		from = next
	}
	dog.stop()
	return nil, fmt.Errorf("%s: %w: more than %d in a row", l, ErrRedirect, maxRedirects)
}

var redirects = []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
	http.StatusTemporaryRedirect, http.StatusPermanentRedirect}

// roundTrip sends one request. It avoids http.Client, which would pass the token on in a Referer
// header and show it in its errors.
func (c *Client) roundTrip(ctx context.Context, l Location, offset int64) (*http.Response, error) {
	p := l.at()
	req := (&http.Request{Method: http.MethodGet, URL: p.url, Host: p.url.Host, Header: http.Header{
		"User-Agent":      {c.o.UserAgent},
		"Accept-Encoding": {"identity"},
	}}).WithContext(ctx)
	if p.user != "" || p.password != "" {
		req.SetBasicAuth(p.user, p.password)
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	return c.o.Transport.RoundTrip(req)
}

// sameHost reports whether two URLs lead to the same server. Going from http to https on the
// default ports is not a change.
func sameHost(u, v *url.URL) bool {
	if !strings.EqualFold(u.Hostname(), v.Hostname()) {
		return false
	}
	upgrade := u.Scheme == "http" && v.Scheme == "https"
	return port(u.Scheme, u.Port()) == port(v.Scheme, v.Port()) && (u.Scheme == v.Scheme) ||
		upgrade && port(u.Scheme, u.Port()) == "80" && port(v.Scheme, v.Port()) == "443"
}

func port(scheme, port string) string {
	switch {
	case port != "":
		return port
	case scheme == "https":
		return "443"
	}
	return "80"
}

// via adds to err that l was redirected.
func via(l, from Location, err error) error {
	if from.at() == l.at() {
		return err
	}
	return l.guard(fmt.Errorf("%s redirects: %w", l, err))
}

// read reads the body. Only the time spent here counts for the watchdog: a slow disk is not a
// stalled transfer.
func (a *answer) read(b []byte, within time.Duration) (int, error) {
	a.expect.within(within)
	n, err := a.Body.Read(b)
	a.expect.rest()
	if err != nil && err != io.EOF {
		err = &connError{a.expect.reason(err)}
	}
	return n, err
}

func (a *answer) close() {
	a.expect.stop()
	a.Body.Close()
}
