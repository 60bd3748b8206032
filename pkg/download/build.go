package download

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/fetch"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
	"github.com/lpbuild/lpbuild/pkg/download/rpmfile"
	"github.com/lpbuild/lpbuild/pkg/download/rpmmd"
	"github.com/lpbuild/lpbuild/pkg/download/store"
)

// readBuild turns a candidate into a build: it fetches and verifies the RPM, extracts the libraries
// and catalogues them. A package without any of the named libraries becomes a build with exports
// only, and one without any shared library a build with neither.
func (r *run) readBuild(ctx context.Context, c *candidate) (*Build, error) {
	file, rpm, err := r.fetchRPM(ctx, c.Package, c.from)
	if err != nil {
		return nil, err
	}
	b := &Build{
		Libraries: []Library{}, Name: rpm.Name, Source: sourceName(rpm.SourceRPM),
		Epoch: rpm.EVR.Epoch, Version: rpm.EVR.Version, Release: rpm.EVR.Release, Arch: rpm.Arch,
		Built: rpm.BuildTime.UTC(), RPM: *file,
	}
	if err := errors.Join(checkElement("source package", b.Source),
		checkElement("version", b.Version), checkElement("release", b.Release)); err != nil {
		return nil, odd(fmt.Errorf("%s: %w", file.URL, err))
	}
	wanted, err := r.wantedLibraries(rpm, b)
	if err != nil {
		return nil, odd(fmt.Errorf("%s: %w", file.URL, err))
	}
	if err := r.catalogue(ctx, c, b, rpm, wanted); err != nil {
		return nil, err
	}
	return b, nil
}

// sourceName returns the name in a source package's file name, NAME-VERSION-RELEASE.src.rpm; "" if
// it is not one.
func sourceName(file string) string {
	name := file
	for range 2 {
		name = name[:max(0, strings.LastIndexByte(name, '-'))]
	}
	return name
}

// wantedLibraries returns the libraries of the package that patches name, in the order in which
// they are named.
func (r *run) wantedLibraries(rpm *rpmfile.RPM, b *Build) ([]wantedLibrary, error) {
	var all []wantedLibrary
	for _, name := range slices.Sorted(slices.Values(r.Libraries)) {
		found, err := rpm.Locate(Home(b.Source, b.EVR(), name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("library %w", err)
		}
		for _, l := range found {
			all = append(all, wantedLibrary{name, l})
		}
		if len(all) > maxLibraries {
			return nil, fmt.Errorf("library %q: more than %d files in the package match", name,
				maxLibraries)
		}
	}
	return all, nil
}

// fetchRPM brings an RPM into the store. It accepts the RPM only if its digest matches the
// metadata, a pinned key signed it, and its header agrees with what the repository says about it.
func (r *run) fetchRPM(ctx context.Context, p rpmmd.Package,
	from *listing) (*File, *rpmfile.RPM, error) {
	location, err := r.locate(ctx, from, p.Base, p.Location)
	if err != nil {
		return nil, nil, fmt.Errorf("repository %s: %w", from.location, err)
	}
	var file *File
	var rpm *rpmfile.RPM
	for again := true; ; again = false {
		if err := r.fetchListed(ctx, p, from, location); err != nil {
			return nil, nil, err
		}
		if file, rpm, err = r.openRPM(ctx, p, from, location); err == nil {
			break
		}
		if !again || !r.isDamaged(ctx, p.Checksum) {
			return nil, nil, odd(fmt.Errorf("%s: %w", location, err))
		}
	}
	if rpm.Name != p.Name || rpm.EVR.Compare(p.EVR) != 0 || rpm.Arch != p.Arch {
		return nil, nil, odd(fmt.Errorf("%s: the repository lists it as %s, but its header says "+
			"%s: the repository is inconsistent",
			location, buildKey(p.Name, p.EVR, p.Arch), rpm.NEVRA()))
	}
	return file, rpm, nil
}

// fetchListed fetches an RPM that a repository's metadata list, from the mirror that served the
// metadata, or else from another one.
func (r *run) fetchListed(ctx context.Context, p rpmmd.Package, from *listing,
	location fetch.Location) error {
	err := r.fetchFrom(ctx, p, location)
	if err == nil || ctx.Err() != nil || p.Base != "" || from.place == nil {
		return err
	}
	first := err
	return r.eachMirror(ctx, from.place, from.source, func(at fetch.Location) error {
		if at.Equal(from.location) {
			return first
		}
		other, err := at.Join(p.Location)
		if err != nil {
			return err
		}
		return r.fetchFrom(ctx, p, other)
	})
}

// fetchFrom fetches an RPM from one location.
func (r *run) fetchFrom(ctx context.Context, p rpmmd.Package, location fetch.Location) error {
	err := r.fetch(ctx, "fetch", location, fetch.Want{Digest: p.Checksum, Size: p.Size})
	switch {
	case errors.Is(err, fetch.ErrNotFound):
		return &unlistedError{err}
	case errors.Is(err, digest.ErrMismatch), errors.Is(err, fetch.ErrTooLarge):
		return &unlistedError{fmt.Errorf("%w: the file does not match the repository's metadata",
			err)}
	}
	return err
}

// locate resolves a file name from a repository's metadata: to a location inside the repository, or
// below the base URL that the metadata give, which may be on another host. That host must be one
// that the repository may refer to, and it gets no password and no token. Its content is trusted as
// if it came from the repository itself, by digest and signature.
func (r *run) locate(ctx context.Context, from *listing,
	base, name string) (fetch.Location, error) {
	if base == "" {
		return from.location.Join(name)
	}
	other, err := fetch.ParseLocation(base, "")
	if err != nil {
		return fetch.Location{}, err
	}
	if rest, inside := strings.CutPrefix(other.Stable()+"/",
		strings.TrimRight(from.location.Stable(), "/")+"/"); inside {
		return from.location.Join(strings.TrimPrefix(strings.Trim(rest, "/")+"/"+name, "/"))
	}
	if from.source.Unsigned {
		return fetch.Location{}, fmt.Errorf("%s is at %s, in a repository that lpbuild.yaml does "+
			"not list, so nothing vouches for it: add that repository", name, other)
	}
	if err := r.Client.MayLead(ctx, from.location, other, true); err != nil {
		return fetch.Location{}, err
	}
	return other.Join(name)
}

// unlistedError marks the absence of an RPM that the repository's metadata list. It adds no text of
// its own.
type unlistedError struct{ err error }

func (e *unlistedError) Error() string { return e.err.Error() }
func (e *unlistedError) Unwrap() error { return e.err }

// openRPM verifies an RPM in the store.
func (r *run) openRPM(ctx context.Context, p rpmmd.Package, from *listing,
	location fetch.Location) (*File, *rpmfile.RPM, error) {
	rpm, err := rpmfile.Open(r.Store.Path(p.Checksum))
	if err != nil {
		return nil, nil, err
	}
	file := &File{URL: location.Stable(), Size: p.Size, Digest: p.Checksum,
		Unsigned: from.source.Unsigned}
	if from.source.Unsigned {
		return file, rpm, rpm.CheckDigests(ctx)
	}
	file.Key, err = r.verifyRPM(ctx, rpm, from.source.Keys)
	return file, rpm, err
}

// isDamaged reports whether the store's copy no longer has the content that was put there. A
// damaged copy is removed, so that it can be fetched again.
func (r *run) isDamaged(ctx context.Context, d digest.Digest) bool {
	f, err := r.Store.OpenVerified(ctx, d)
	if err == nil {
		f.Close()
	}
	return errors.Is(err, store.ErrMissing)
}

// verifyRPM accepts keys that have expired since they signed, because builds stay in repositories
// longer than keys last.
func (r *run) verifyRPM(ctx context.Context, rpm *rpmfile.RPM,
	keys *pgp.Keyring) (fingerprint string, err error) {
	signature, err := rpm.Verify(ctx, keys, pgp.Policy{Now: r.now, AtSigning: true})
	if err != nil {
		return "", err
	}
	return signature.Key.Fingerprint, nil
}
