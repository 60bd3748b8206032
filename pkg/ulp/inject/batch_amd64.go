package inject

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/ulp/tracer"
)

// batch is loading with all system calls in one go: a stop between two calls takes as long as all of them. As no call can
// wait for what the ones before returned, no call may do harm if one failed: each part of a blob is mapped on its own, and
// never over anything; and the engine fills the memory, not the file, once it is seen that all is there. Meanwhile the
// process runs. An engine that is killed before leaves memory of zeros, which nothing leads to and the next change unmaps.
type batch struct {
	names []byte
	calls []tracer.BatchCall
	whats []string       // of calls, for errors
	maps  []int          // calls that map
	named map[int]uint64 // calls that take a name, and where it is in names
	frees []*freed
}

// newBatch makes the calls that close files, give memory back, and map the blobs.
func newBatch(files []int, frees []*freed, blobs []*blob) *batch {
	b := &batch{named: map[int]uint64{}, frees: frees}
	for _, fd := range files {
		b.add("closing a forgotten memory file", call(unix.SYS_CLOSE, uint64(fd)))
	}
	for _, f := range frees {
		b.add("giving memory back", call(unix.SYS_MUNMAP, f.base, f.size))
	}
	for _, bl := range blobs {
		b.plan(bl)
	}
	return b
}

// idle returns the memory that may go before anything is loaded.
func (r *run) idle() []*freed {
	return slices.DeleteFunc(slices.Clone(r.frees), func(f *freed) bool { return !f.idle || f.inUse })
}

// loadAtOnce maps the blobs with a batch. tracer.ErrNoBatch: it has to be done one by one.
func (r *run) loadAtOnce(ctx context.Context, th *tracer.Thread) error {
	b := r.batch
	if files, frees := r.forgotten(), r.idle(); len(files)+len(frees) > 0 {
		b = newBatch(files, frees, r.blobs)
	}
	r.step("load")
	results, err := r.t.Batch(ctx, th, b.names, b.at)
	if err != nil {
		return err
	}
	r.step("loaded")
	for _, f := range b.frees {
		f.done = true
	}
	err = b.check(r, results)
	r.empty = err == nil
	return err
}

func (b *batch) add(what string, c tracer.Call) int {
	b.calls, b.whats = append(b.calls, tracer.BatchCall{Call: c}), append(b.whats, what)
	return len(b.calls) - 1
}

// at returns the calls with the names at an address.
func (b *batch) at(names uint64) []tracer.BatchCall {
	for i, off := range b.named {
		b.calls[i].Args[0] = names + off
	}
	return b.calls
}

// with makes the result of an earlier call an argument of the last one.
func (b *batch) with(arg, from int) {
	last := &b.calls[len(b.calls)-1]
	last.Arg, last.From = arg, from
}

// plan adds the calls for one blob.
func (b *batch) plan(bl *blob) {
	file := b.add("a memory file", call(unix.SYS_MEMFD_CREATE, 0, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING))
	b.named[file] = uint64(len(b.names))
	b.names = append(append(b.names, bl.name...), 0)
	b.add("sizing the memory file", call(unix.SYS_FTRUNCATE, 0, bl.size))
	b.with(1, file)
	for _, p := range bl.tiles() {
		what := fmt.Sprintf("mapping %d KiB", p.size>>10)
		b.maps = append(b.maps, b.add(what, call(unix.SYS_MMAP, bl.base+p.off, p.size, p.prot,
			unix.MAP_PRIVATE|unix.MAP_FIXED_NOREPLACE, 0, p.off)))
		b.with(5, file)
	}
	b.add("closing the memory file", call(unix.SYS_CLOSE))
	b.with(1, file)
}

// tiles returns all parts of the blob, those that are just read-only too.
func (bl *blob) tiles() []part {
	var list []part
	var at uint64
	gap := func(to uint64) {
		if to > at {
			list = append(list, part{at, to - at, unix.PROT_READ})
		}
	}
	for _, p := range bl.parts {
		gap(p.off)
		list, at = append(list, p), p.off+p.size
	}
	gap(bl.size)
	return list
}

// check looks at what the calls returned, and remembers what was mapped.
func (b *batch) check(r *run, results []tracer.Result) error {
	var first error
	for i, res := range results {
		mapped := slices.Contains(b.maps, i)
		if res.Errno == 0 && mapped {
			r.mapped = append(r.mapped, &freed{base: res.Value, size: b.calls[i].Args[1]})
		}
		switch {
		case first != nil:
		case res.Errno == unix.EEXIST, res.Errno == 0 && mapped && res.Value != b.calls[i].Args[0]:
			first = fmt.Errorf("%s: %w", b.whats[i], ErrStale) // somebody else took the room; before Linux 4.17 it is elsewhere
		case res.Errno != 0:
			first = fmt.Errorf("%s: %w: %w", b.whats[i], ErrRefused, res.Errno)
		}
	}
	return first
}

// fill writes the contents of the blobs.
func (r *run) fill() error {
	for _, bl := range r.blobs {
		first := bl.first()
		for i, c := range bl.contents {
			if i == 0 {
				c = content{uint64(len(first)), c.data[len(first):]}
			}
			for from, to := range pagesOf(c.data) {
				if err := r.fillPart(bl, content{c.off + uint64(from), c.data[from:to]}); err != nil {
					return err
				}
			}
		}
		// By its first page the next engine, should this one be killed, knows the blob: all the rest must be there.
		if err := r.fillPart(bl, content{0, first}); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) fillPart(bl *blob, c content) error {
	r.step("fill")
	if _, err := r.mem.WriteAt(c.data, int64(bl.base+c.off)); err != nil {
		return fmt.Errorf("filling memory: %w: %w", ErrRefused, gone(err))
	}
	return nil
}

// pagesOf yields the ranges of pages that are not all zero, as fresh memory is.
func pagesOf(data []byte) iter.Seq2[int, int] {
	var zeros [pageSize]byte
	return func(yield func(from, to int) bool) {
		from := 0
		for at := 0; at < len(data); at += pageSize {
			page := data[at:min(at+pageSize, len(data))]
			if !bytes.Equal(page, zeros[:len(page)]) {
				continue
			}
			if from < at && !yield(from, at) {
				return
			}
			from = at + pageSize
		}
		if from < len(data) {
			yield(from, len(data))
		}
	}
}

// forgotten returns the descriptors of memory files that are still open, now that the process stands still.
func (r *run) forgotten() []int {
	var list []int
	for _, fd := range slices.Sorted(maps.Keys(r.leaked)) {
		if isLeaked(r.p.PID, fd) {
			list = append(list, fd)
		}
	}
	return list
}

// unmapAtOnce makes calls that give something back, and whose failure changes nothing.
func (r *run) unmapAtOnce(ctx context.Context, th *tracer.Thread, calls []tracer.Call) error {
	_, err := r.t.Batch(ctx, th, nil, func(uint64) []tracer.BatchCall {
		list := make([]tracer.BatchCall, 0, len(calls))
		for _, c := range calls {
			list = append(list, tracer.BatchCall{Call: c})
		}
		return list
	})
	return err
}
