package download

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/fetch"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
	"github.com/lpbuild/lpbuild/pkg/download/rpmfile"
	"github.com/lpbuild/lpbuild/pkg/download/rpmmd"
	"github.com/lpbuild/lpbuild/pkg/download/store"
)

// readBuild makes a build of a candidate: fetches, verifies, takes the libraries out and catalogues them. A package that
// has none of the libraries gives a build without libraries.
func (r *run) readBuild(ctx context.Context, c *candidate) (*Build, error) {
	file, rpm, err := r.fetchRPM(ctx, c.Package, c.from)
	if err != nil {
		return nil, err
	}
	b := &Build{
		Name: rpm.Name, Source: sourceName(rpm.SourceRPM), Epoch: rpm.EVR.Epoch, Version: rpm.EVR.Version, Release: rpm.EVR.Release, Arch: rpm.Arch,
		Built: rpm.BuildTime.UTC(), RPM: *file,
	}
	if err := errors.Join(checkElement("source package", b.Source), checkElement("version", b.Version), checkElement("release", b.Release)); err != nil {
		return nil, fmt.Errorf("%s: %w", file.URL, err)
	}
	paths := r.libraryPaths(rpm)
	if len(paths) == 0 {
		return b, nil
	}
	debug, err := r.fetchDebuginfo(ctx, c, b)
	if err != nil {
		return nil, err
	}
	if err := r.catalogue(ctx, b, rpm, debug, paths); err != nil {
		return nil, fmt.Errorf("%s: %w", file.URL, err)
	}
	return b, nil
}

// sourceName returns the name in a source package's file name, NAME-VERSION-RELEASE.src.rpm; "" if it is not one.
func sourceName(file string) string {
	name := file
	for range 2 {
		name = name[:max(0, strings.LastIndexByte(name, '-'))]
	}
	return name
}

// libraryPaths returns where in the package the wanted libraries are, by the names that patches give them.
func (r *run) libraryPaths(rpm *rpmfile.RPM) map[string]string {
	found := map[string]string{}
	for _, name := range r.Libraries {
		if p, ok := rpm.Find(Home(rpm.Name, rpm.EVR, name)); ok {
			found[name] = p
		}
	}
	return found
}

// fetchRPM brings an RPM into the store and believes it only if its digest is the repository's, a pinned key signed it,
// and it is what the repository says it is.
func (r *run) fetchRPM(ctx context.Context, p rpmmd.Package, from *listing) (*File, *rpmfile.RPM, error) {
	location, err := from.location.Join(p.Location)
	if err != nil {
		return nil, nil, fmt.Errorf("repository %s: %w", from.location, err)
	}
	file, rpm, err := r.tryRPM(ctx, p, from, location)
	if err != nil && r.isDamaged(ctx, p.Checksum) {
		file, rpm, err = r.tryRPM(ctx, p, from, location)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", location, err)
	}
	if rpm.Name != p.Name || rpm.EVR.Compare(p.EVR) != 0 || rpm.Arch != p.Arch {
		return nil, nil, fmt.Errorf("%s: the repository calls it %s, it calls itself %s: the repository is inconsistent",
			location, buildKey(p.Name, p.EVR, p.Arch), rpm.NEVRA())
	}
	return file, rpm, nil
}

// tryRPM fetches and verifies an RPM.
func (r *run) tryRPM(ctx context.Context, p rpmmd.Package, from *listing, location fetch.Location) (*File, *rpmfile.RPM, error) {
	if err := r.fetch(ctx, "fetch", location, fetch.Want{Digest: p.Checksum, Size: p.Size}); err != nil {
		return nil, nil, err
	}
	rpm, err := rpmfile.Open(r.Store.Path(p.Checksum))
	if err != nil {
		return nil, nil, err
	}
	file := &File{URL: location.Stable(), Size: p.Size, Digest: p.Checksum, Unsigned: from.source.Unsigned}
	if from.source.Unsigned {
		return file, rpm, rpm.CheckDigests(ctx)
	}
	file.Key, err = r.verifyRPM(ctx, rpm, from.source.Keys)
	return file, rpm, err
}

// isDamaged reports whether the store's copy is no longer what it was when it came in. Such a copy is gone afterwards, and
// can be fetched again.
func (r *run) isDamaged(ctx context.Context, d digest.Digest) bool {
	f, err := r.Store.OpenVerified(ctx, d)
	if err == nil {
		f.Close()
	}
	return errors.Is(err, store.ErrMissing)
}

// verifyRPM accepts keys that have expired since they signed: builds stay in repositories for longer than keys last.
func (r *run) verifyRPM(ctx context.Context, rpm *rpmfile.RPM, keys *pgp.Keyring) (fingerprint string, err error) {
	signature, err := rpm.Verify(ctx, keys, pgp.Policy{Now: r.now, AtSigning: true})
	if err != nil {
		return "", err
	}
	return signature.Key.Fingerprint, nil
}

// fetchDebuginfo brings the debuginfo package that was built together with b. Several of them are told apart by the
// build-ids that they say to hold; which one really fits is checked when the symbols are read.
func (r *run) fetchDebuginfo(ctx context.Context, c *candidate, b *Build) (*rpmfile.RPM, error) {
	if len(c.debuginfo) == 0 {
		r.Progress.Warn("fetch", b.NEVRA()+": no debuginfo package: only exported functions can be patched")
		return nil, nil
	}
	d := c.debuginfo[0]
	for _, other := range c.debuginfo[1:] {
		if other.from.source == c.from.source {
			d = other
			break
		}
	}
	file, rpm, err := r.fetchRPM(ctx, d.Package, d.from)
	if err != nil {
		return nil, err
	}
	b.Debuginfo = file
	return rpm, nil
}

// debugFile returns the debuginfo package's file for a library: by build-id, the sure way, else by the library's path.
func debugFile(debug *rpmfile.RPM, libraryPath string, buildID []byte) (string, bool) {
	id := hex.EncodeToString(buildID)
	if len(id) > 2 {
		if p, ok := debug.Find("/usr/lib/debug/.build-id/" + id[:2] + "/" + id[2:] + ".debug"); ok {
			return p, true
		}
	}
	prefix := path.Join("/usr/lib/debug", libraryPath)
	for _, f := range debug.Files() {
		rest, ok := strings.CutPrefix(f.Name, prefix)
		if ok && f.Mode.IsRegular() && strings.HasSuffix(rest, ".debug") && (rest[0] == '.' || rest[0] == '-') {
			return f.Name, true
		}
	}
	return "", false
}

// extracted is what the store remembers of a build's RPMs, so that they are unpacked once.
type extracted struct {
	Libraries []Library
	Exports   *Exports
}

// extractedKey changes with everything that extracted depends on.
func (r *run) extractedKey(b *Build, paths map[string]string) string {
	names := make([]string, 0, len(paths))
	for name, p := range paths {
		names = append(names, name+"="+p)
	}
	slices.Sort(names)
	debug := ""
	if b.Debuginfo != nil {
		debug = b.Debuginfo.Digest.String()
	}
	key := strings.Join([]string{catalogueVersion, r.Product, b.RPM.Digest.String(), debug, strings.Join(names, "\n")}, "\n")
	return digest.OfBytes([]byte(key)).Hex
}

// recall fills b from what an earlier run stored.
func (r *run) recall(b *Build, key string) bool {
	data, err := r.Store.Record("extracted", key)
	if err != nil {
		return false
	}
	var e extracted
	if json.Unmarshal(data, &e) != nil {
		return false
	}
	for _, lib := range e.Libraries {
		if lib.check() != nil || !r.Store.Has(lib.Pinned) {
			return false
		}
	}
	if e.Exports == nil || !r.Store.Has(e.Exports.Digest) {
		return false
	}
	b.Libraries, b.Exports = e.Libraries, e.Exports
	return true
}
