package download

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// merge combines candidates with the very same libraries into one build. Two builds that share
// nothing but a name both stay if one repository has both, since somebody may have either; two
// repositories must not contradict each other. Builds without any shared library are left out.
// builds has one element for each candidate, or nil.
func (r *run) merge(candidates []*candidate, builds []*Build) ([]Build, error) {
	type met struct {
		build *Build
		place string
	}
	byName, byContent := map[string][]met{}, map[string]*Build{}
	var kept []*Build
next:
	for i, b := range builds {
		if b == nil || b.Exports == nil {
			continue
		}
		name, content, at := b.NEVRA(), contentKey(b), candidates[i].from.place.name
		for _, first := range byName[name] {
			if contentKey(first.build) == content {
				continue next
			}
		}
		for _, first := range byName[name] {
			if first.place != at {
				return nil, fmt.Errorf("%w: %s from %s and from %s have different libraries: "+
					"leave one repository out",
					ErrConflict, name, first.build.RPM.URL, b.RPM.URL)
			}
			r.Progress.Warn("metadata", fmt.Sprintf("%s exists twice, with different libraries "+
				"(%s, %s): live patches are made for both",
				name, first.build.RPM.URL, b.RPM.URL))
		}
		byName[name] = append(byName[name], met{b, at})
		if first, met := byContent[content]; met {
			first.Also = append(first.Also, name)
			continue
		}
		byContent[content] = b
		kept = append(kept, b)
	}
	all := make([]Build, len(kept))
	for i, b := range kept {
		all[i] = *b
	}
	return all, nil
}

// nameTwins distinguishes builds of one version and release, so that files can be named after them.
// A build keeps the twin name that it has in the former lock; of the others, the oldest needs
// nothing but version and release.
func (r *run) nameTwins(l *Lock) {
	l.sort()
	groups := map[string][]*Build{}
	for i := range l.Builds {
		b := &l.Builds[i]
		b.Twin = r.formerTwin(b)
		key := strings.Join([]string{b.Name, b.Version, b.Release, b.Arch}, " ")
		groups[key] = append(groups[key], b)
	}
	for _, group := range groups {
		used := map[string]bool{}
		for _, b := range group {
			if b.Twin != noTwin && used[b.Twin] {
				b.Twin = noTwin
			}
			used[b.Twin] = true
		}
		for _, b := range group {
			if b.Twin != noTwin {
				continue
			}
			epoch := fmt.Sprintf("epoch%d", b.Epoch)
			if slices.ContainsFunc(group, func(o *Build) bool {
				return o != b && o.Epoch == b.Epoch
			}) {
				epoch = ""
			}
			for _, name := range []string{"", epoch, "rpm" + b.RPM.Digest.Hex[:8]} {
				if !used[name] {
					b.Twin, used[name] = name, true
					break
				}
			}
		}
	}
}

// noTwin marks a build that has no twin name yet.
const noTwin = "?"

// formerTwin returns the twin name of the build in the former lock.
func (r *run) formerTwin(b *Build) string {
	if r.former != nil {
		for i := range r.former.Builds {
			if f := &r.former.Builds[i]; f.NEVRA() == b.NEVRA() && sameLibraries(f, b) {
				return f.Twin
			}
		}
	}
	return noTwin
}

// contentKey returns a key that two builds share if and only if all their libraries have the same
// build-ids or, without patched libraries, the same exports.
func contentKey(b *Build) string {
	keys := make([]string, len(b.Libraries))
	for i, lib := range b.Libraries {
		keys[i] = lib.Name + "/" + lib.Variant + "=" + lib.BuildID
	}
	if len(keys) == 0 {
		keys = []string{b.Exports.Digest.String()}
	}
	slices.Sort(keys)
	return b.Arch + " " + b.Name + " " + strings.Join(keys, " ")
}

// checkLibraries rejects a lock in which no build has a library that a patch names. The error lists
// the libraries that exist, since nobody can know them before the first download.
func (r *run) checkLibraries(ctx context.Context, l *Lock) error {
	for _, name := range r.Libraries {
		if slices.ContainsFunc(l.Builds, func(b Build) bool {
			return len(b.LibrariesNamed(name)) > 0
		}) {
			continue
		}
		have, err := r.sonames(ctx, l)
		if err != nil {
			return err
		}
		return fmt.Errorf("library %s: %w: no build of the configured packages contains it: %s",
			name, ErrNotOffered, have)
	}
	return nil
}

// maxNamed is the number of libraries of a package that a message lists.
const maxNamed = 20

// sonames returns a sentence that lists the libraries of the packages in l by SONAME.
func (r *run) sonames(ctx context.Context, l *Lock) (string, error) {
	of := map[string]map[string]bool{}
	for i := range l.Builds {
		b := &l.Builds[i]
		if of[b.Name] == nil {
			of[b.Name] = map[string]bool{}
		}
		if b.Exports == nil {
			continue
		}
		data, err := readStored(ctx, r.Store, b.Exports.Digest)
		if err != nil {
			return "", err
		}
		exports, err := ParseExports(data)
		if err != nil {
			return "", fmt.Errorf("exports of %s: %w", b.NEVRA(), err)
		}
		for soname := range exports.Libraries {
			of[b.Name][soname] = true
		}
	}
	var all []string
	for _, p := range r.Packages {
		names := sortedKeys(of[p.Name])
		switch more := len(names) - maxNamed; {
		case len(names) == 0:
			all = append(all, p.Name+" has no library that programs can link with")
		case more > 0:
			all = append(all, fmt.Sprintf("%s has %s and %d more", p.Name,
				strings.Join(names[:maxNamed], ", "), more))
		default:
			all = append(all, fmt.Sprintf("%s has %s", p.Name, strings.Join(names, ", ")))
		}
	}
	return strings.Join(all, "; "), nil
}
