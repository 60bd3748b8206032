package download

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lpbuild/lpbuild/internal/atomicfile"
	"github.com/lpbuild/lpbuild/pkg/download/fetch"
	"github.com/lpbuild/lpbuild/pkg/progress"
)

// run is one download in progress.
type run struct {
	Request
	Options
	now    time.Time
	former *Lock // nil if there is none
}

// Result describes what a download did.
type Result struct {
	Lock    *Lock
	Added   []string // builds that the former lock did not have
	Removed []string // builds that only the former lock had
	Gone    []string // builds that have left all repositories since the former lock; they are kept
	Odd     []OddBuild
}

// Run downloads every build of every package and writes the catalogue and the lock. If it fails,
// the former lock and its catalogue stay as they were. A build that is defective by itself does not
// keep the others from being pinned: see Result.Odd.
func Run(ctx context.Context, req Request, o Options) (*Result, error) {
	if o.Client == nil {
		o.Client = fetch.New(fetch.Options{})
	}
	r := &run{Request: req, Options: o, now: time.Now()}
	former, err := ReadLock(o.Lock)
	if err != nil && !errors.Is(err, ErrNoLock) {
		r.Progress.Warn("lock", "the former lock cannot be read and is replaced: builds that no "+
			"repository offers any more are dropped, and "+
			"repositories that went back to an older state go unnoticed; restore it from version "+
			"control if you can: "+err.Error())
	}
	r.former = former
	lock, odds, err := r.readCurrent(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.write(ctx, lock, former); err != nil {
		return nil, err
	}
	res := compare(former, lock)
	res.Odd = odds
	return res, nil
}

// readCurrent reads the current state of the repositories. If an RPM is not where the metadata say,
// the owner may have published in between. Everything is then read once more, which costs only what
// is new, since the store has the rest.
func (r *run) readCurrent(ctx context.Context) (*Lock, []OddBuild, error) {
	first, odds, err := r.read(ctx)
	if _, unlisted := errors.AsType[*unlistedError](err); !unlisted || ctx.Err() != nil {
		return first, odds, err
	}
	r.Progress.Warn("metadata", fmt.Sprintf("the repositories may have changed and are read once "+
		"more: %v", err))
	second, odds, err := r.read(ctx)
	if _, unlisted := errors.AsType[*unlistedError](err); !unlisted {
		return second, odds, err
	}
	if slices.Equal(first.Repositories, second.Repositories) {
		return nil, nil, fmt.Errorf("%w: %w: ask its owner, or try again after its next "+
			"publication", err, ErrIncomplete)
	}
	return nil, nil, fmt.Errorf("%w: %w", err, errChanging)
}

// read reads the repositories and every wanted build. With an [unlistedError] it returns a lock
// that has only the repositories.
func (r *run) read(ctx context.Context) (*Lock, []OddBuild, error) {
	listings, err := r.readListings(ctx)
	if err != nil {
		return nil, nil, err
	}
	lock := &Lock{Format: LockFormat, Product: r.Product}
	for _, l := range listings {
		lock.Repositories = append(lock.Repositories, l.locked)
	}
	candidates, err := r.candidates(ctx, listings)
	if err != nil {
		return nil, nil, err
	}
	var odds []OddBuild
	if lock.Builds, odds, err = r.readBuilds(ctx, candidates); err != nil {
		return lock, nil, err
	}
	if err := r.keepFormer(ctx, lock, odds); err != nil {
		return lock, nil, err
	}
	if err := r.checkLibraries(ctx, lock); err != nil {
		return lock, nil, errors.Join(err, join(odds))
	}
	r.nameTwins(lock)
	return lock, odds, nil
}

// readListings reads all repositories; those for debuginfo follow the ones they belong to.
func (r *run) readListings(ctx context.Context) ([]*listing, error) {
	type job struct {
		source *Source
		at     *place
	}
	var jobs []job
	for i := range r.Repositories {
		s := &r.Repositories[i]
		named := []fetch.Location{s.Main}
		if s.Debuginfo != nil {
			named = append(named, *s.Debuginfo)
		}
		for _, l := range named {
			found, err := r.places(ctx, l)
			if err != nil {
				return nil, err
			}
			for _, at := range found {
				jobs = append(jobs, job{s, at})
			}
		}
	}
	listings := make([]*listing, len(jobs))
	err := r.each(ctx, len(jobs), func(ctx context.Context, i int) (err error) {
		listings[i], err = r.readListing(ctx, jobs[i].source, jobs[i].at, r.isInteresting)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, l := range listings {
		if l.source.Unsigned {
			r.Progress.Warn("metadata", fmt.Sprintf("UNSIGNED: nothing vouches for repository %s",
				l.location))
		}
	}
	return listings, nil
}

// readBuilds reads all candidates, several at a time, and keeps one build where several are the
// same. Odd ones are left out.
func (r *run) readBuilds(ctx context.Context,
	candidates []*candidate) ([]Build, []OddBuild, error) {
	builds, faults := make([]*Build, len(candidates)), make([]error, len(candidates))
	err := r.each(ctx, len(candidates), func(ctx context.Context, i int) (err error) {
		builds[i], err = r.readBuild(ctx, candidates[i])
		_, is := errors.AsType[*oddError](err)
		if _, unlisted := errors.AsType[*unlistedError](err); unlisted &&
			len(twins(candidates, i)) > 0 {
			is = true
		}
		if is {
			builds[i], faults[i], err = nil, err, nil
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	var odds []OddBuild
	for i, err := range faults {
		c := candidates[i]
		if _, unlisted := errors.AsType[*unlistedError](err); unlisted {
			if !slices.ContainsFunc(twins(candidates, i),
				func(j int) bool { return builds[j] != nil }) {
				return nil, nil, err
			}
			r.Progress.Warn("metadata", fmt.Sprintf("a second entry for %s is stale and is "+
				"ignored: %v", buildKey(c.Name, c.EVR, c.Arch), err))
			continue
		}
		if err != nil {
			odds = append(odds, OddBuild{Name: buildKey(c.Name, c.EVR, c.Arch),
				Version: c.EVR.String(), Err: err})
		}
	}
	if len(odds) > 0 && len(odds) == len(candidates) {
		return nil, nil, join(odds)
	}
	merged, err := r.merge(candidates, builds)
	return merged, odds, err
}

// twins returns the indexes of the other candidates with the same name, version and architecture in
// the repository of candidate i.
func twins(candidates []*candidate, i int) []int {
	var all []int
	c := candidates[i]
	for j, other := range candidates {
		if j != i && other.from == c.from && other.Name == c.Name && other.Arch == c.Arch &&
			other.EVR == c.EVR {
			all = append(all, j)
		}
	}
	return all
}

// each calls f for 0 to n-1, several at a time. After an error it cancels the other calls, and
// their cancellation errors are not part of the result.
func (r *run) each(parent context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	errs := make([]error, n)
	// an error from before it is a reason, even one that wraps context.Canceled
	var cancelled atomic.Bool
	var g errgroup.Group
	g.SetLimit(r.jobs())
	for i := range n {
		g.Go(func() error {
			if ctx.Err() == nil {
				err := f(ctx, i)
				if err == nil || errors.Is(err, context.Canceled) && cancelled.Load() {
					return nil
				}
				errs[i] = err
				cancelled.Store(true)
				cancel()
			}
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs
	if err := context.Cause(parent); err != nil {
		return err
	}
	return errors.Join(errs...)
}

// write writes the catalogue, then the lock, which thus never names a missing file. Files with
// different content have different names, so the former lock's catalogue stays intact until the new
// lock is in place.
func (r *run) write(ctx context.Context, l, former *Lock) error {
	data, err := l.Bytes()
	if err != nil {
		return err
	}
	written, err := materialise(ctx, l, r.Store, r.Dir)
	if err == nil {
		err = atomicfile.Write(r.Lock, data, 0o644)
	}
	if err != nil {
		removeFiles(r.Dir, written)
		return err
	}
	removeStale(r.Dir, former, l)
	return nil
}

func (r *run) jobs() int { return cmp.Or(max(0, r.Jobs), 4) }

// fetch brings a file into the store and reports progress.
func (r *run) fetch(ctx context.Context, stage string, l fetch.Location, w fetch.Want) error {
	if r.Store.Has(w.Digest) {
		return nil
	}
	task := filepath.Base(l.Stable())
	err := r.Client.ToStore(ctx, l, r.Store, w, func(done, total int64) {
		r.Progress.Emit(progress.Event{Stage: stage, Task: task, Done: done, Total: total,
			Bytes: true})
	})
	r.Progress.Emit(progress.Event{Stage: stage, Task: task, Done: w.Size, Total: w.Size,
		Bytes: true, Final: true, Failed: err != nil})
	return err
}

// compare returns the builds that are new and those that are gone, in the order of the locks.
func compare(former, l *Lock) *Result {
	if former == nil {
		former = &Lock{}
	}
	res := &Result{Lock: l, Added: missing(former, l), Removed: missing(l, former),
		Gone: []string{}}
	were := map[string]bool{}
	for i := range former.Builds {
		were[former.Builds[i].NEVRA()] = former.Builds[i].Gone != ""
	}
	for i := range l.Builds {
		if name := l.Builds[i].NEVRA(); l.Builds[i].Gone != "" && !were[name] {
			res.Gone = append(res.Gone, name)
		}
	}
	return res
}

// missing returns the builds of l that other does not have.
func missing(other, l *Lock) []string {
	has := map[string]bool{}
	for i := range other.Builds {
		has[other.Builds[i].NEVRA()] = true
	}
	names := []string{}
	for i := range l.Builds {
		if name := l.Builds[i].NEVRA(); !has[name] {
			names = append(names, name)
		}
	}
	return names
}
