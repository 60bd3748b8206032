package download

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lpbuild/lpbuild/pkg/download/rpmmd"
)

// Even a server that does not have the repository's key can serve an old state of it, whose
// signature is valid: released builds vanish (rollback), or new ones never appear (freeze).
var (
	// ErrOlder means that a repository is in an older state than the one in the lock.
	ErrOlder = errors.New("older than the state in " + lockFileName)
	// ErrStale means that a repository's state is older than the configuration allows.
	ErrStale = errors.New("older than \"max-age\" allows")
)

// lockFileName is the name of the lock in messages.
const lockFileName = "lpbuild.lock"

// checkFresh rejects a repository state that is older than the one in the former lock, or too old.
func (r *run) checkFresh(l *listing) error {
	if !r.AllowOlder && r.former != nil {
		known := slices.DeleteFunc(slices.Clone(r.former.Repositories),
			func(k LockedRepository) bool { return k.URL != l.locked.URL })
		if len(known) > 0 && !slices.ContainsFunc(known,
			func(k LockedRepository) bool { return len(l.locked.older(&k)) == 0 }) {
			return fmt.Errorf("%w: %s: somebody may be hiding newer builds: ask the owner, or "+
				"accept it with --allow-older",
				ErrOlder, strings.Join(l.locked.older(&known[0]), ", "))
		}
	}
	if l.source.NotBefore.IsZero() {
		return nil
	}
	made := cmp.Or(l.locked.Signed, l.locked.Timestamp)
	switch {
	case made.IsZero():
		return fmt.Errorf("%w: its metadata carry no date", ErrStale)
	case made.Before(l.source.NotBefore):
		return fmt.Errorf("%w: it dates from %s: somebody may be hiding newer builds: ask the "+
			"owner, or raise \"max-age\" in its entry",
			ErrStale, made.Format(time.DateOnly))
	}
	return nil
}

// older describes in which respects l is older than the known state. Each property counts on its
// own: a newer signature over an older list is an older state.
func (l *LockedRepository) older(known *LockedRepository) []string {
	if l.Repomd == known.Repomd {
		return nil // an expired signature may have been renewed by a machine with another clock
	}
	var all []string
	was, err1 := strconv.ParseUint(known.Revision, 10, 64)
	is, err2 := strconv.ParseUint(l.Revision, 10, 64)
	if err1 == nil && err2 == nil && is < was { // other revisions have no order
		all = append(all, fmt.Sprintf("revision %d, it was %d", is, was))
	}
	for _, t := range []struct {
		what    string
		is, was time.Time
	}{{"metadata", l.Timestamp, known.Timestamp}, {"signature", l.Signed, known.Signed}} {
		if !t.is.IsZero() && t.is.Before(t.was) {
			all = append(all, fmt.Sprintf("%s of %s, it was of %s", t.what,
				t.is.Format(time.RFC3339), t.was.Format(time.RFC3339)))
		}
	}
	return all
}

// newest returns the latest timestamp in repomd.xml, or the zero time if there is none.
func newest(md *rpmmd.Repomd) time.Time {
	var last time.Time
	for _, d := range md.Data {
		if d.Timestamp.After(last) {
			last = d.Timestamp
		}
	}
	return last
}
