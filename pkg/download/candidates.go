package download

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/rpmmd"
	"github.com/lpbuild/lpbuild/pkg/rpmver"
)

// candidate is an RPM that may become a build. There is one for each content, however many
// repositories have it.
type candidate struct {
	rpmmd.Package
	from      *listing
	debuginfo []debugCandidate // of the same version, release and architecture
}

type debugCandidate struct {
	rpmmd.Package
	from *listing
}

// debuginfoSuffix follows a package's name in the name of its separate debuginfo package.
const debuginfoSuffix = "-debuginfo"

// candidates selects the wanted packages from the listings.
func (r *run) candidates(ctx context.Context, listings []*listing) ([]*candidate, error) {
	debug := map[string][]debugCandidate{}
	seen := map[digest.Digest]bool{}
	var found []*candidate
	for _, l := range listings {
		for _, p := range l.packages {
			if name, is := strings.CutSuffix(p.Name, debuginfoSuffix); is && !r.isPackage(p.Name) {
				key := buildKey(name, p.EVR, p.Arch)
				debug[key] = append(debug[key], debugCandidate{p, l})
				continue
			}
			if r.wants(&p) && !seen[p.Checksum] {
				seen[p.Checksum] = true
				found = append(found, &candidate{Package: p, from: l})
			}
		}
	}
	for _, c := range found {
		c.debuginfo = debug[buildKey(c.Name, c.EVR, c.Arch)]
	}
	if err := r.sourceDebuginfo(ctx, listings, found); err != nil {
		return nil, err
	}
	for _, p := range r.Packages {
		if !slices.ContainsFunc(found, func(c *candidate) bool { return c.Name == p.Name }) &&
			!r.keeps(p.Name) {
			return nil, fmt.Errorf("package %s (%s; builds %q): %w: check the name, the "+
				"architectures, \"builds\" and \"since\"",
				p.Name, strings.Join(r.Arch, ", "), p.Builds, ErrNotOffered)
		}
	}
	slices.SortFunc(found, func(a, b *candidate) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return a.EVR.Compare(b.EVR)
	})
	return found, nil
}

// sourceDebuginfo finds debuginfo for candidates that have none under their own name: it may be
// named after the source package, foo-debuginfo for libfoo1. Such a package counts if it was built
// from the same source RPM. The listings have to be read again, because only the candidates tell
// which names to look for.
func (r *run) sourceDebuginfo(ctx context.Context, listings []*listing, found []*candidate) error {
	names := map[string]bool{}
	for _, c := range found {
		if source := sourceName(c.SourceRPM); len(c.debuginfo) == 0 && source != "" &&
			source != c.Name && !r.isPackage(source+debuginfoSuffix) {
			names[source+debuginfoSuffix] = true
		}
	}
	if len(names) == 0 {
		return nil
	}
	debug := map[string][]debugCandidate{}
	for _, l := range listings {
		again, err := r.readListing(ctx, l.source, l.place,
			func(name string) bool { return names[name] })
		if err != nil {
			return err
		}
		for _, p := range again.packages {
			key := p.SourceRPM + " " + p.Arch
			debug[key] = append(debug[key], debugCandidate{p, l})
		}
	}
	for _, c := range found {
		if len(c.debuginfo) == 0 {
			c.debuginfo = debug[c.SourceRPM+" "+c.Arch]
		}
	}
	return nil
}

func buildKey(name string, evr rpmver.EVR, arch string) string {
	return name + "-" + evr.String() + "." + arch
}

func (r *run) isPackage(name string) bool {
	return slices.ContainsFunc(r.Packages, func(p Package) bool { return p.Name == name })
}

// isInteresting reports whether primary.xml is searched for packages of this name.
func (r *run) isInteresting(name string) bool {
	return r.isPackage(name) || r.isPackage(strings.TrimSuffix(name, debuginfoSuffix))
}

func (r *run) wants(p *rpmmd.Package) bool {
	return slices.ContainsFunc(r.Packages, func(w Package) bool {
		return w.Name == p.Name && w.Builds.Contains(p.EVR) && (w.NotBefore.IsZero() ||
			!p.BuildTime.Before(w.NotBefore))
	})
}
