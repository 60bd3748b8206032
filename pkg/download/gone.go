package download

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/fetch"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
	"github.com/lpbuild/lpbuild/pkg/download/rpmmd"
)

// ErrGone means that no repository has a build any more, and neither does the store.
var ErrGone = errors.New("no repository has it any more")

// keepFormer adds to l the builds of the former lock that the configuration still asks for and that
// no repository has any more: customers may run them for as long as their machines are up. A build
// that is odd today keeps its former entry.
func (r *run) keepFormer(ctx context.Context, l *Lock, odds []OddBuild) error {
	if r.former == nil {
		return nil
	}
	for i := range r.former.Builds {
		b := r.former.Builds[i]
		name := b.NEVRA()
		if !r.stillWants(&b) || l.has(&b) {
			continue
		}
		if slices.ContainsFunc(odds, func(o OddBuild) bool { return o.Name == name }) {
			l.Builds = append(l.Builds, b)
			continue
		}
		if r.Forget {
			continue
		}
		if b.Gone == "" {
			b.Gone = r.now.UTC().Format(time.DateOnly)
		}
		kept, err := r.readGone(ctx, &b)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		l.Builds = append(l.Builds, *kept)
	}
	return nil
}

// sameLibraries reports whether two builds of one name agree on all libraries that both list. The
// lists may differ, since patches may name other libraries than they did when the former lock was
// made.
func sameLibraries(a, b *Build) bool {
	if a.RPM.Digest == b.RPM.Digest {
		return true
	}
	for _, lib := range a.Libraries {
		for _, other := range b.LibrariesNamed(lib.Name) {
			if other.Variant == lib.Variant && other.BuildID != lib.BuildID {
				return false
			}
		}
	}
	return true
}

// stillWants reports whether the configuration still asks for a build of the former lock.
func (r *run) stillWants(b *Build) bool {
	p := rpmmd.Package{Name: b.Name, EVR: b.EVR(), BuildTime: b.Built}
	return slices.Contains(r.Arch, b.Arch) && r.wants(&p)
}

// keeps reports whether the lock keeps builds of a package that no repository has any more.
func (r *run) keeps(name string) bool {
	return r.former != nil && !r.Forget && slices.ContainsFunc(r.former.Builds,
		func(b Build) bool { return b.Name == name && r.stillWants(&b) })
}

// readGone reads the build again from the RPMs in the store, since patches may name other libraries
// by now. Without the RPMs the entry stays as it was.
func (r *run) readGone(ctx context.Context, b *Build) (*Build, error) {
	if b.RPM.Unsigned && !slices.ContainsFunc(r.Repositories,
		func(s Source) bool { return s.Unsigned }) {
		return nil, fmt.Errorf("%w, and it was accepted unsigned, which no repository is now: "+
			"drop it with lpbuild download --forget", ErrGone)
	}
	if !r.Store.Has(b.RPM.Digest) || b.Debuginfo != nil && !r.Store.Has(b.Debuginfo.Digest) {
		return r.keepGone(ctx, b)
	}
	c := &candidate{}
	var err error
	if c.Package, c.from, err = r.storedPackage(b, &b.RPM, b.Name); err != nil {
		return nil, err
	}
	if b.Debuginfo != nil {
		p, from, err := r.storedPackage(b, b.Debuginfo, b.Name+debuginfoSuffix)
		if err != nil {
			return nil, err
		}
		from.source = c.from.source
		c.debuginfo = []debugCandidate{{p, from}}
	}
	again, err := r.readBuild(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("%w, and it cannot be read again: %w: drop it with lpbuild "+
			"download --forget", ErrGone, err)
	}
	again.Gone, again.Also = b.Gone, b.Also
	return again, nil
}

// storedPackage returns an RPM of the former lock as its repository described it.
func (r *run) storedPackage(b *Build, f *File, name string) (rpmmd.Package, *listing, error) {
	dir, file := path.Split(f.URL)
	at, err := fetch.ParseLocation(dir, r.Dir)
	if err != nil {
		return rpmmd.Package{}, nil, err
	}
	p := rpmmd.Package{Name: name, Arch: b.Arch, EVR: b.EVR(), Checksum: f.Digest, Location: file,
		Size: f.Size, BuildTime: b.Built}
	return p, &listing{source: r.anySource(f.Unsigned), location: at}, nil
}

// anySource combines the keys of all repositories, since the one that a build came from may have
// been removed.
func (r *run) anySource(unsigned bool) *Source {
	keys := &pgp.Keyring{}
	for i := range r.Repositories {
		keys.Merge(r.Repositories[i].Keys)
	}
	return &Source{Keys: keys, Unsigned: unsigned}
}

// keepGone keeps the former lock's entry of a build whose RPMs are gone.
func (r *run) keepGone(ctx context.Context, b *Build) (*Build, error) {
	for name, d := range b.files() {
		have, err := digest.OfFile(filepath.Join(r.Dir, filepath.FromSlash(name)))
		if (err != nil || have != d) && !r.isWhole(ctx, d) {
			return nil, fmt.Errorf("%w, and %s is neither in the catalogue nor in the store: "+
				"restore it from version control, or drop the build with lpbuild download "+
				"--forget", ErrGone, name)
		}
	}
	for _, lib := range r.Libraries {
		if !slices.ContainsFunc(r.former.Builds, func(b Build) bool {
			return len(b.LibrariesNamed(lib)) > 0
		}) {
			return nil, fmt.Errorf("%w, and its RPM is not in the store, so it is unknown "+
				"whether it has %s, which no patch named before: drop the build with lpbuild "+
				"download --forget", ErrGone, lib)
		}
	}
	kept := *b
	kept.Libraries = slices.DeleteFunc(slices.Clone(b.Libraries),
		func(l Library) bool { return !slices.Contains(r.Libraries, l.Name) })
	return &kept, nil
}
