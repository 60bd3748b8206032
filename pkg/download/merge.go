package download

import (
	"fmt"
	"slices"
	"strings"
)

// merge makes one build of each that has the very same libraries. Of two that share nothing but a name, both stay if one
// repository has both: somebody may have either; two repositories must not contradict each other. Builds without any shared
// library are left out. builds has one for each candidate, nil for none.
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
				return nil, fmt.Errorf("%w: %s from %s and from %s have different libraries: leave one repository out",
					ErrConflict, name, first.build.RPM.URL, b.RPM.URL)
			}
			r.Progress.Warn("metadata", fmt.Sprintf("%s is there twice, with different libraries (%s, %s): live patches are made for both",
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

// nameTwins tells builds apart that have one version and release, so that files can be named after them. What the former
// lock called a build, the build keeps; of the others, the oldest needs no more than version and release.
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
			if slices.ContainsFunc(group, func(o *Build) bool { return o != b && o.Epoch == b.Epoch }) {
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

// noTwin is the name of a build that has none yet.
const noTwin = "?"

// formerTwin returns what the former lock calls the build.
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

// contentKey is the same for two builds exactly if all their libraries have the same build-ids or, without libraries that
// patches name, the same exports.
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

// checkLibraries refuses a lock in which a library that a patch names occurs in no build.
func (r *run) checkLibraries(l *Lock) error {
	for _, name := range r.Libraries {
		if !slices.ContainsFunc(l.Builds, func(b Build) bool { return len(b.LibrariesNamed(name)) > 0 }) {
			return fmt.Errorf("library %s: %w: no build of the configured packages contains it", name, ErrNotOffered)
		}
	}
	return nil
}
