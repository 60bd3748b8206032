package fetch_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/fetch"
	"github.com/lpbuild/lpbuild/pkg/download/store"
)

func TestToStore(t *testing.T) {
	data := random(300_000)
	for name, size := range map[string]int64{"size known": 300_000, "size unknown": 0} {
		t.Run(name, func(t *testing.T) {
			s, st := serve(t, content(data)), openStore(t)
			var last, total int64
			progress := func(d, n int64) {
				if d < last {
					t.Errorf("progress went back from %d to %d", last, d)
				}
				last, total = d, n
			}
			want := fetch.Want{Digest: digest.OfBytes(data), Size: size}
			for range 2 { // the second time it is there
				if err := soon(fetch.Options{}).ToStore(t.Context(), location(t, s.URL), st, want,
					progress); err != nil {
					t.Fatal(err)
				}
				if last != 300_000 && size > 0 || total != 300_000 && size > 0 {
					t.Errorf("progress ended with %d of %d", last, total)
				}
				last = 0
			}
			stored(t, st, data)
			if len(s.asked()) != 1 || s.bytesSent() != 300_000 {
				t.Errorf("%d requests, %d bytes", len(s.asked()), s.bytesSent())
			}
		})
	}
}

func TestToStoreNeedsALocationAndADigest(t *testing.T) {
	c, st := fetch.New(fetch.Options{}), openStore(t)
	if err := c.ToStore(t.Context(), fetch.Location{}, st, wantOf(nil), nil); err == nil {
		t.Error("without a location")
	}
	if err := c.ToStore(t.Context(), location(t, "https://host/"), st, fetch.Want{Size: 1},
		nil); err == nil {
		t.Error("without a digest")
	}
}

// A server breaks every connection after 1000 bytes: each attempt continues where the last one
// ended.
func TestResumeWithinADownload(t *testing.T) {
	data := random(4500)
	s, st := serve(t, aborting(data, 1000)), openStore(t)
	c := soon(fetch.Options{Retries: 4})
	if err := c.ToStore(t.Context(), location(t, s.URL), st, wantOf(data), nil); err != nil {
		t.Fatal(err)
	}
	stored(t, st, data)
	want := []string{"", "bytes=1000-", "bytes=2000-", "bytes=3000-", "bytes=4000-"}
	if d := cmp.Diff(want, s.ranges()); d != "" || s.bytesSent() != 4500 {
		t.Errorf("%d bytes sent; ranges (-want +got):\n%s", s.bytesSent(), d)
	}
}

// Attempts with progress do not count as failures, those with next to none do.
func TestRetriesCountWithoutProgress(t *testing.T) {
	data := random(1 << 20)
	for _, tc := range []struct {
		each     int
		requests int
		ok       bool
	}{{each: 100 << 10, requests: 11, ok: true}, {each: 10, requests: 3}} {
		s, st := serve(t, aborting(data, tc.each)), openStore(t)
		err := soon(fetch.Options{Retries: 2}).ToStore(t.Context(), location(t, s.URL), st,
			wantOf(data), nil)
		if (err == nil) != tc.ok || len(s.asked()) != tc.requests {
			t.Errorf("%d bytes each: %v after %d requests", tc.each, err, len(s.asked()))
		}
		if !tc.ok && len(parts(t, st)) != 1 {
			t.Error("the received data were not kept")
		}
	}
}

func TestResume(t *testing.T) {
	data := random(100_000)
	wrong := random(50_000)
	unsatisfiable := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		w.Write(data)
	}
	otherRange := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			w.Header().Set("Content-Range", "bytes 7-99999/100000")
			w.WriteHeader(http.StatusPartialContent)
		}
		w.Write(data)
	}
	changed := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			content(random(90_000))(w, r) // replaced while it was fetched, and then restored
			return
		}
		content(data)(w, r)
	}
	tests := map[string]struct {
		handler http.HandlerFunc
		begin   []byte
		unknown bool // size
		sent    int64
		ranges  []string
	}{
		"resumes": {handler: content(data), begin: data[:60_000], sent: 40_000,
			ranges: []string{"bytes=60000-"}},
		"size unknown": {handler: content(data), begin: data[:60_000], unknown: true,
			sent: 40_000, ranges: []string{"bytes=60000-"}},
		"complete": {handler: content(data), begin: data},
		"complete, size unknown": {handler: content(data), begin: data, unknown: true,
			ranges: []string{"bytes=100000-"}},
		"server without ranges": {handler: contentWithoutRanges(data), begin: data[:60_000],
			sent: 100_000, ranges: []string{"bytes=60000-"}},
		"wrong beginning": {handler: content(data), begin: wrong, sent: 150_000,
			ranges: []string{"bytes=50000-", ""}},
		"more than the content": {handler: content(data),
			begin: slices.Concat(data, data), sent: 100_000, ranges: []string{""}},
		"wrong, complete": {handler: content(data), begin: slices.Concat(wrong, wrong),
			sent: 100_000, ranges: []string{""}},
		"416, right": {handler: unsatisfiable, begin: data, unknown: true,
			ranges: []string{"bytes=100000-"}},
		"416, wrong": {handler: unsatisfiable, begin: wrong, sent: 100_000,
			ranges: []string{"bytes=50000-", ""}},
		"another range than asked for": {handler: otherRange, begin: data[:60_000],
			ranges: []string{"bytes=60000-", ""}},
		"another size than before": {handler: changed, begin: data[:60_000],
			ranges: []string{"bytes=60000-", ""}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s, st := serve(t, tc.handler), openStore(t)
			want := wantOf(data)
			if tc.unknown {
				want.Size = 0
			}
			keepPart(t, st, want.Digest, tc.begin)
			if err := soon(fetch.Options{}).ToStore(t.Context(), location(t, s.URL), st, want,
				nil); err != nil {
				t.Fatal(err)
			}
			stored(t, st, data)
			if d := cmp.Diff(tc.ranges, s.ranges()); d != "" {
				t.Errorf("ranges (-want +got):\n%s", d)
			}
			if tc.sent > 0 && s.bytesSent() != tc.sent {
				t.Errorf("%d bytes sent, want %d", s.bytesSent(), tc.sent)
			}
		})
	}
}

func TestToStoreErrors(t *testing.T) {
	data, other := random(50_000), random(50_000)
	endless := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 10_000)); err != nil {
				return
			}
		}
	}
	short := func(w http.ResponseWriter, r *http.Request) { // ends without an error, but too early
		http.NewResponseController(w).Flush()
		w.Write(data[:10_000])
	}
	tests := map[string]struct {
		handler  http.HandlerFunc
		begin    []byte
		unknown  bool // size
		want     error
		requests int
	}{
		"other content": {handler: content(other), want: digest.ErrMismatch,
			requests: 1},
		"other content, resumed": {handler: content(other), begin: data[:10],
			want: digest.ErrMismatch, requests: 2},
		"other content, size unknown": {handler: content(other), unknown: true,
			want: digest.ErrMismatch, requests: 1},
		"announced larger": {handler: content(append(data, 0)),
			want: fetch.ErrTooLarge, requests: 1},
		"announced smaller": {handler: content(data[1:]), want: digest.ErrMismatch,
			requests: 1},
		"endless": {handler: endless, want: fetch.ErrTooLarge, requests: 1},
		"endless, size unknown": {handler: endless, unknown: true, want: fetch.ErrTooLarge,
			requests: 1},
		"announced more than the limit": {handler: content(random(200_000)), unknown: true,
			want: fetch.ErrTooLarge, requests: 1},
		"not found": {handler: status(404), want: fetch.ErrNotFound,
			requests: 1},
		"not found, resumed": {handler: status(404), begin: data[:10],
			want: fetch.ErrNotFound, requests: 1},
		"ends too early": {handler: short, want: nil, requests: 3},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s, st := serve(t, tc.handler), openStore(t)
			want := wantOf(data)
			if tc.unknown {
				want.Size = 0
			}
			keepPart(t, st, want.Digest, tc.begin)
			err := soon(fetch.Options{Retries: 2, MaxSize: 100_000}).ToStore(t.Context(),
				location(t, s.URL+"/f.rpm?t0ken"), st, want, nil)
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if !strings.Contains(err.Error(), s.URL+"/f.rpm?***") {
				t.Errorf("error does not name the URL: %v", err)
			}
			if len(s.asked()) != tc.requests {
				t.Errorf("%d requests, want %d", len(s.asked()), tc.requests)
			}
			nothingStored(t, st, data)
			if wrong := errors.Is(err, digest.ErrMismatch) ||
				errors.Is(err, fetch.ErrTooLarge); wrong && len(parts(t, st)) > 0 {
				t.Error("wrong content was kept as a part")
			}
		})
	}
}

func TestToStoreStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data, st := []byte("begin and end"), openStore(t)
		var ranges []string
		c := soon(fetch.Options{StallTimeout: 5 * time.Second,
			Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				ranges = append(ranges, r.Header.Get("Range"))
				if len(ranges) == 1 {
					return respond(200, blocked(r.Context(), "begin")), nil
				}
				res := respond(206, strings.NewReader(" and end"))
				res.Header.Set("Content-Range", "bytes 5-12/*")
				return res, nil
			})})
		if err := c.ToStore(t.Context(), location(t, "https://host/"), st, wantOf(data),
			nil); err != nil {
			t.Fatal(err)
		}
		stored(t, st, data)
		if d := cmp.Diff([]string{"", "bytes=5-"}, ranges); d != "" {
			t.Errorf("ranges (-want +got):\n%s", d)
		}
	})
}

// Two processes want the same content at the same time: one fetches it, the other waits and finds
// it.
func TestToStoreTwiceAtOnce(t *testing.T) {
	data := random(200_000)
	s, st := serve(t, content(data)), openStore(t)
	c := soon(fetch.Options{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := c.ToStore(t.Context(), location(t, s.URL), st, wantOf(data),
				nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	stored(t, st, data)
	if len(s.asked()) != 1 {
		t.Errorf("%d requests", len(s.asked()))
	}
}

// A process killed in the middle of a transfer loses nothing: data it received are not sent again.
func TestResumeAfterKill(t *testing.T) {
	data := random(1 << 20)
	const half = 512 << 10
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") == "" {
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			w.Write(data[:half])
			http.NewResponseController(w).Flush()
			<-r.Context().Done() // until it is killed
			return
		}
		content(data)(w, r)
	})
	st, want := openStore(t), wantOf(data)
	child := exec.Command(os.Args[0], "download", s.URL, st.Dir(), want.Digest.String())
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(st.Dir(), "parts", "sha256-"+want.Digest.Hex+".part")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if fi, err := os.Stat(part); err == nil && fi.Size() == half {
			break
		}
		if time.Now().After(deadline) {
			child.Process.Kill()
			t.Fatal("the child did not receive half of the file")
		}
	}
	child.Process.Kill()
	child.Wait()
	if st.Has(want.Digest) {
		t.Fatal("half a file has its final name")
	}

	if err := soon(fetch.Options{}).ToStore(t.Context(), location(t, s.URL), st, want,
		nil); err != nil {
		t.Fatal(err)
	}
	stored(t, st, data)
	if d := cmp.Diff([]string{"", fmt.Sprintf("bytes=%d-", half)}, s.ranges()); d != "" ||
		s.bytesSent() != int64(len(data)) {
		t.Errorf("%d bytes sent for %d; ranges (-want +got):\n%s", s.bytesSent(), len(data), d)
	}
}

func TestToStoreLocal(t *testing.T) {
	data := random(200_000)
	name := filepath.Join(t.TempDir(), "x.rpm")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		name string
		want fetch.Want
		err  error
		says string
	}{
		"file":         {name: name, want: wantOf(data)},
		"size unknown": {name: name, want: fetch.Want{Digest: digest.OfBytes(data)}},
		"other content": {name: name, want: fetch.Want{Digest: digest.OfBytes(nil)},
			err: digest.ErrMismatch},
		"too large": {name: name, want: wantOf(data[1:]), err: fetch.ErrTooLarge},
		"too small": {name: name, want: wantOf(append(slices.Clone(data), 0)),
			err: digest.ErrMismatch},
		"missing": {name: name + "x", want: wantOf(data), err: fetch.ErrNotFound},
		"FIFO":    {name: fifo, want: wantOf(data), says: "not a regular file"},
	}
	for what, tc := range tests {
		t.Run(what, func(t *testing.T) {
			st := openStore(t)
			var done int64
			err := fetch.New(fetch.Options{}).ToStore(t.Context(), location(t, tc.name), st,
				tc.want, func(d, _ int64) { done = d })
			if tc.err == nil && tc.says == "" {
				if err != nil || done != int64(len(data)) {
					t.Errorf("error %v, progress %d", err, done)
				}
				stored(t, st, data)
				return
			}
			if err == nil || tc.err != nil && !errors.Is(err, tc.err) ||
				!strings.Contains(err.Error(), tc.name+": "+tc.says) {
				t.Errorf("error %v", err)
			}
			nothingStored(t, st, data)
		})
	}
}

// A disk fills up: the error names the URL and the file, says what to do, and is not retried.
func TestToStoreFullDisk(t *testing.T) {
	disk := t.TempDir()
	err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=128k,mode=0700")
	if errors.Is(err, unix.EPERM) {
		t.Skip("mounting a file system needs root; the tests of package store fill a disk in " +
			"another way")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(disk, unix.MNT_DETACH) })
	st, err := store.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	data := random(1 << 20)
	s := serve(t, content(data))
	err = soon(fetch.Options{}).ToStore(t.Context(), location(t, s.URL+"/x?t0ken"), st,
		wantOf(data), nil)
	if !errors.Is(err, store.ErrFull) || len(s.asked()) != 1 {
		t.Fatalf("error %v after %d requests", err, len(s.asked()))
	}
	for _, want := range []string{s.URL + "/x?***", disk, "make room there"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q, want %q in it", err, want)
		}
	}
	nothingStored(t, st, data)
}

func BenchmarkToStore(b *testing.B) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 4<<20)
	s := serve(b, content(data))
	c := soon(fetch.Options{})
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		st, err := store.Open(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		if err := c.ToStore(b.Context(), location(b, s.URL), st, wantOf(data), nil); err != nil {
			b.Fatal(err)
		}
	}
}
