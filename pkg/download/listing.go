package download

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/fetch"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
	"github.com/lpbuild/lpbuild/pkg/download/rpmmd"
)

// Bounds of the small metadata files, in bytes. SUSE's largest repomd.xml has about 10 KiB.
const (
	maxRepomd    = 16 << 20
	maxSignature = 1 << 20
)

// maxListedBuilds bounds what is kept of one repository. Real ones have at most some hundred builds
// of one package.
const maxListedBuilds = 5_000

// listing holds the wanted packages that one repository offers.
type listing struct {
	source   *Source
	place    *place
	location fetch.Location // the mirror it was read from
	locked   LockedRepository
	packages []rpmmd.Package
}

// readListing reads one repository, from the first mirror that has a valid state.
func (r *run) readListing(ctx context.Context, s *Source, p *place,
	want func(string) bool) (l *listing, err error) {
	failed := ""
	err = r.eachMirror(ctx, p, s, func(at fetch.Location) error {
		if failed != "" {
			r.Progress.Warn("metadata", "trying the next mirror: "+failed)
		}
		var err error
		if l, err = r.readMirror(ctx, s, p, at, want); err != nil {
			failed = err.Error()
		}
		return err
	})
	return l, err
}

// readMirror reads one repository from one mirror. If the repository changes between repomd.xml and
// primary.xml, it is read once more, since its owner may publish at any moment.
func (r *run) readMirror(ctx context.Context, s *Source, p *place, at fetch.Location,
	want func(string) bool) (*listing, error) {
	var err error
	var seen [2]digest.Digest // of repomd.xml
	for i := range seen {
		var l *listing
		if l, err = r.tryListing(ctx, s, p, at, want); err == nil {
			return l, nil
		}
		stale, is := errors.AsType[*staleError](err)
		if !is {
			return nil, fmt.Errorf("repository %s: %w", at, err)
		}
		seen[i] = stale.repomd
	}
	if errors.Is(err, pgp.ErrBadSignature) {
		return nil, fmt.Errorf("repository %s: %w", at, err)
	}
	if seen[0] == seen[1] && !seen[0].IsZero() {
		return nil, fmt.Errorf("repository %s: %w: %w: ask its owner, or try again after its "+
			"next publication", at, ErrIncomplete, err)
	}
	return nil, fmt.Errorf("repository %s: %w: %w", at, errChanging, err)
}

// errChanging is [ErrChanged] with advice.
var errChanging = fmt.Errorf("%w: wait a minute and try again", ErrChanged)

// staleError marks a repomd.xml that no longer describes the files beside it. It adds no text of
// its own.
type staleError struct {
	err    error
	repomd digest.Digest // of the file that was read; zero if none was trusted
}

func (e *staleError) Error() string { return e.err.Error() }
func (e *staleError) Unwrap() error { return e.err }

func (r *run) tryListing(ctx context.Context, s *Source, p *place, at fetch.Location,
	want func(string) bool) (*listing, error) {
	l := &listing{source: s, place: p, location: at}
	md, err := r.readRepomd(ctx, l)
	if errors.Is(err, pgp.ErrBadSignature) { // perhaps the signature of the next state
		return nil, &staleError{err: err}
	}
	if err != nil {
		return nil, err
	}
	primary, err := md.Primary()
	if err != nil {
		return nil, err
	}
	location, err := r.locate(ctx, l, primary.Base, primary.Location)
	if err != nil {
		return nil, err
	}
	if err := r.fetch(ctx, "metadata", location,
		fetch.Want{Digest: primary.Checksum, Size: primary.Size}); err != nil {
		if errors.Is(err, fetch.ErrNotFound) || errors.Is(err, digest.ErrMismatch) ||
			errors.Is(err, fetch.ErrTooLarge) {
			return nil, &staleError{err, l.locked.Repomd}
		}
		return nil, err
	}
	if l.packages, err = r.readPrimary(ctx, primary, want); err != nil {
		if r.isDamaged(ctx, primary.Checksum) {
			err = &staleError{err, l.locked.Repomd}
		}
		return nil, fmt.Errorf("%s: %w", location, err)
	}
	return l, nil
}

// readRepomd reads repomd.xml, and trusts it only if a pinned key signed it.
func (r *run) readRepomd(ctx context.Context, l *listing) (*rpmmd.Repomd, error) {
	location, err := l.location.Join("repodata/repomd.xml")
	if err != nil {
		return nil, err
	}
	data, err := r.Client.Bytes(ctx, location, maxRepomd)
	if err != nil {
		if errors.Is(err, fetch.ErrNotFound) {
			return nil, fmt.Errorf("%w: is this the directory that holds \"repodata\"?", err)
		}
		return nil, err
	}
	l.locked = LockedRepository{URL: l.place.name, Repomd: digest.OfBytes(data),
		Unsigned: l.source.Unsigned}
	if mirror := l.location.Stable(); mirror != l.place.name {
		l.locked.Mirror = mirror
	}
	if !l.source.Unsigned {
		signature, err := r.verifyRepomd(ctx, l, data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", location, err)
		}
		l.locked.Key, l.locked.Signed = signature.Key.Fingerprint, signature.Created.UTC()
	}
	md, err := rpmmd.ParseRepomd(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", location, err)
	}
	l.locked.Revision, l.locked.Timestamp = md.Revision, newest(md)
	if err := r.checkFresh(l); err != nil {
		return nil, err
	}
	return md, nil
}

func (r *run) verifyRepomd(ctx context.Context, l *listing, data []byte) (*pgp.Signature, error) {
	location, err := l.location.Join("repodata/repomd.xml.asc")
	if err != nil {
		return nil, err
	}
	sig, err := r.Client.Bytes(ctx, location, maxSignature)
	if errors.Is(err, fetch.ErrNotFound) {
		return nil, fmt.Errorf("%w: the repository has no repomd.xml.asc: sign it, or accept it "+
			"with \"unsigned: true\" in its entry", pgp.ErrNoSignature)
	}
	if err != nil {
		return nil, err
	}
	for _, got := range []struct {
		name string
		data []byte
	}{{"repomd.xml.asc", sig}, {"repomd.xml", data}} {
		if isWebPage(got.data) {
			return nil, fmt.Errorf("%w: the server sent a web page instead of %s, perhaps a "+
				"proxy's, a login or an error page: check the URL and the proxy settings",
				pgp.ErrBadSignature, got.name)
		}
	}
	return l.source.Keys.Verify(sig, bytes.NewReader(data), pgp.Policy{Now: r.now})
}

// isWebPage reports whether data are HTML.
func isWebPage(data []byte) bool {
	head := bytes.ToLower(bytes.TrimSpace(bytes.TrimPrefix(data[:min(len(data), 512)],
		[]byte("\xef\xbb\xbf"))))
	return bytes.HasPrefix(head, []byte("<!doctype html")) || bytes.HasPrefix(head, []byte("<html"))
}

func (r *run) readPrimary(ctx context.Context, primary rpmmd.Data,
	want func(string) bool) ([]rpmmd.Package, error) {
	f, err := r.Store.Open(primary.Checksum)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if primary.Size == 0 {
		primary.Size = info.Size()
	}
	xml, err := rpmmd.OpenPrimary(ctx, primary, f)
	if err != nil {
		return nil, err
	}
	defer xml.Close()
	var found []rpmmd.Package
	err = rpmmd.ReadPrimary(ctx, xml, want, func(p rpmmd.Package) error {
		if !slices.Contains(r.Arch, p.Arch) {
			return nil
		}
		if len(found) == maxListedBuilds {
			return fmt.Errorf("more than %d builds of the wanted packages: %w", maxListedBuilds,
				rpmmd.ErrTooLarge)
		}
		p.Provides = nil // unused, and the bulk of an entry
		found = append(found, p)
		return nil
	})
	return found, err
}
