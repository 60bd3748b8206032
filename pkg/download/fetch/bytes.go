package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Bytes returns the content at l, at most limit bytes. The error wraps [ErrNotFound] or
// [ErrTooLarge] where that applies.
func (c *Client) Bytes(ctx context.Context, l Location, limit int64) ([]byte, error) {
	if l.IsZero() {
		return nil, errNowhere
	}
	if l.IsLocal() {
		return localBytes(ctx, l, limit)
	}
	var data []byte
	err := c.retry(ctx, func() (int64, error) {
		var err error
		data, err = c.bytes(ctx, l, limit)
		return 0, err
	})
	if err != nil {
		return nil, l.guard(err)
	}
	return data, nil
}

var errNowhere = errors.New("no location given")

// bytes makes one attempt.
func (c *Client) bytes(ctx context.Context, l Location, limit int64) ([]byte, error) {
	a, err := c.get(ctx, l, 0)
	if err != nil {
		return nil, err
	}
	defer a.close()
	if a.StatusCode != http.StatusOK {
		return nil, via(l, a.from, newStatusError(a.Response, a.from))
	}
	tooLarge := fmt.Errorf("%s: %w: more than %d bytes", l, ErrTooLarge, limit)
	if a.ContentLength > limit {
		return nil, tooLarge
	}
	var data bytes.Buffer
	n, err := io.Copy(&data, io.LimitReader(bodyReader{a, c.o.StallTimeout}, max(limit, limit+1)))
	if err != nil {
		return nil, a.from.guard(fmt.Errorf("%s: %w", l, err))
	}
	if n > limit {
		return nil, tooLarge
	}
	return data.Bytes(), nil
}

// bodyReader adapts the body of an answer to io.Reader.
type bodyReader struct {
	a      *answer
	within time.Duration
}

func (r bodyReader) Read(b []byte) (int, error) { return r.a.read(b, r.within) }

// minProgress is the number of bytes that a failed attempt must have transferred to count as
// progress. A server that sends a few bytes per connection must not keep the client busy forever.
const minProgress = 64 << 10

// retry calls try until it succeeds, fails permanently, or has failed too often without progress.
func (c *Client) retry(ctx context.Context, try func() (brought int64, err error)) error {
	for failed := 0; ; {
		brought, err := try()
		if err == nil || ctx.Err() != nil || !temporary(err) {
			return err
		}
		if brought >= minProgress {
			failed = 0
		}
		if failed++; failed > c.o.Retries {
			if c.o.Retries > 0 {
				err = fmt.Errorf("%w (%d times)", err, failed)
			}
			return err
		}
		pause := c.o.Backoff(failed)
		if status, ok := errors.AsType[*StatusError](err); ok {
			pause = max(pause, status.retryAfter)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: while waiting to try again after: %w", context.Cause(ctx), err)
		case <-timer.C:
		}
	}
}
