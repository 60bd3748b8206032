package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/store"
)

// Want is the expected content of a download.
type Want struct {
	Digest digest.Digest // required
	Size   int64         // in bytes; 0 if unknown
}

// ToStore fetches the content at l into the store, unless it is already there. An interrupted
// download resumes if the server supports that, and one that another process is working on is
// waited for. If the content does not match want.Digest, ToStore fetches it from the beginning once
// more if it came in several pieces, and otherwise returns an error that wraps
// [digest.ErrMismatch]; wrong content never enters the store. Content larger than want.Size is cut
// off with [ErrTooLarge].
//
// progress, which may be nil, is called from this goroutine with the number of bytes present and
// the size, which is 0 while unknown. The number may go down when the download restarts.
func (c *Client) ToStore(ctx context.Context, l Location, st *store.Store, want Want,
	progress func(done, total int64)) error {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	switch {
	case l.IsZero():
		return errNowhere
	case want.Digest.IsZero():
		return fmt.Errorf("%s: no digest to verify it with", l)
	case st.Has(want.Digest):
		progress(want.Size, want.Size)
		return nil
	case l.IsLocal():
		return localToStore(ctx, l, st, want, progress)
	}
	return l.guard(c.download(ctx, l, st, want, progress))
}

func (c *Client) download(ctx context.Context, l Location, st *store.Store, want Want,
	progress func(done, total int64)) error {
	part, err := st.Partial(ctx, want.Digest)
	if errors.Is(err, store.ErrExists) {
		progress(want.Size, want.Size)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", l, err)
	}
	defer func() { _ = part.Close() }()
	t := &transfer{c: c, l: l, part: part, want: want, progress: progress}
	for again := false; ; again = true {
		err := c.retry(ctx, func() (int64, error) { return t.try(ctx) })
		if err == nil {
			if err = part.Commit(); err != nil {
				err = fmt.Errorf("%s: %w", l, err)
			}
		}
		wrong := errors.Is(err, digest.ErrMismatch) || errors.Is(err, ErrTooLarge)
		if wrong {
			err = errors.Join(err, part.Reset())
		}
		if !wrong || !t.pieced || again {
			return err
		}
		t.pieced = false
	}
}

// transfer is one download.
type transfer struct {
	c        *Client
	l        Location
	part     *store.Partial
	want     Want
	progress func(done, total int64)
	pieced   bool // the present bytes came with more than one request
}

// try continues the download, to its end if possible. It returns the number of bytes it fetched.
func (t *transfer) try(ctx context.Context) (brought int64, err error) {
	if t.want.Size > 0 && t.part.Size() > t.want.Size {
		if err := t.part.Reset(); err != nil {
			return 0, err
		}
	}
	offset := t.part.Size()
	t.pieced = offset > 0
	if t.want.Size > 0 && offset == t.want.Size {
		return 0, nil // the digest decides
	}
	a, err := t.c.get(ctx, t.l, offset)
	if err != nil {
		return 0, err
	}
	defer a.close()
	total, err := t.begin(a, offset)
	if err != nil {
		return 0, err
	}
	if total == complete {
		return 0, nil
	}
	start := t.part.Size()
	err = t.copy(a, total)
	return t.part.Size() - start, err
}

// complete is the total of a part that has nothing left to request.
const complete = -1

// begin evaluates the header of the response to a request from offset on and prepares the part for
// its body. It returns the total size, or 0 if unknown.
func (t *transfer) begin(a *answer, offset int64) (total int64, err error) {
	var start int64
	switch {
	case a.StatusCode == http.StatusRequestedRangeNotSatisfiable && offset > 0:
		return complete, nil
	case a.StatusCode == http.StatusOK:
	case a.StatusCode != http.StatusPartialContent || offset == 0:
		return 0, via(t.l, a.from, newStatusError(a.Response, a.from))
	default:
		if start, total, err = contentRange(a.Header.Get("Content-Range")); err != nil ||
			start != offset {
			err = fmt.Errorf("%s: the server sent another range than the one from byte %d on", t.l,
				offset)
			return 0, errors.Join(&connError{err}, t.part.Reset())
		}
	}
	if start == 0 && offset > 0 {
		t.pieced = false
		if err := t.part.Reset(); err != nil {
			return 0, err
		}
	}
	if total == 0 && a.ContentLength >= 0 {
		total = start + a.ContentLength
	}
	if err := t.checkSize(total); err != nil {
		return 0, fmt.Errorf("%s: %w", t.l, err)
	}
	return max(total, t.want.Size), nil
}

// checkSize compares the size that the server announces, 0 if none, with the expected one.
func (t *transfer) checkSize(total int64) error {
	if total > t.limit() {
		return fmt.Errorf("%w: it has %d bytes, want %d", ErrTooLarge, total, t.limit())
	}
	if total <= 0 {
		return nil
	}
	return t.want.checkSize(total)
}

// limit returns the maximum number of bytes.
func (t *transfer) limit() int64 {
	if t.want.Size > 0 {
		return t.want.Size
	}
	return t.c.o.MaxSize
}

// contentRange parses "bytes start-end/total"; a total of "*" is 0.
func contentRange(value string) (start, total int64, err error) {
	span, found := strings.CutPrefix(value, "bytes ")
	span, whole, hasTotal := strings.Cut(span, "/")
	first, _, hasEnd := strings.Cut(span, "-")
	if !found || !hasTotal || !hasEnd {
		return 0, 0, fmt.Errorf("invalid content range %.80q", value)
	}
	begin, err := strconv.ParseUint(first, 10, 63)
	if err == nil && whole != "*" {
		var size uint64
		size, err = strconv.ParseUint(whole, 10, 63)
		total = int64(size)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("invalid content range %.80q", value)
	}
	return int64(begin), total, nil
}

// copy appends the body of the answer to the part.
func (t *transfer) copy(a *answer, total int64) error {
	limit := t.limit()
	t.progress(t.part.Size(), total)
	buf := make([]byte, 64<<10)
	for {
		n, err := a.read(buf, t.c.o.StallTimeout)
		if t.part.Size()+int64(n) > limit {
			return fmt.Errorf("%s: %w: more than the expected %d bytes", t.l, ErrTooLarge, limit)
		}
		if _, err := t.part.Write(buf[:n]); err != nil {
			return fmt.Errorf("%s: %w", t.l, err)
		}
		if n > 0 {
			t.progress(t.part.Size(), total)
		}
		if errors.Is(err, io.EOF) && t.part.Size() < t.want.Size {
			err = &connError{io.ErrUnexpectedEOF}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return a.from.guard(fmt.Errorf("%s: %w", t.l, err))
		}
	}
}
