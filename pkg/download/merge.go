package download

import (
	"fmt"
	"slices"
	"strings"
)

// merge makes one build of each that has the very same libraries, and refuses two that share nothing but a name. Builds
// without any shared library are left out.
func merge(builds []*Build) ([]Build, error) {
	byName, byContent := map[string]*Build{}, map[string]*Build{}
	var kept []*Build
	for _, b := range builds {
		if b == nil || b.Exports == nil {
			continue
		}
		name, content := b.NEVRA(), contentKey(b)
		if first, met := byName[name]; met {
			if contentKey(first) != content {
				return nil, fmt.Errorf("%w: %s from %s and from %s have different libraries: leave one repository out",
					ErrConflict, name, first.RPM.URL, b.RPM.URL)
			}
			continue
		}
		byName[name] = b
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
