package download

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/rpmfile"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// debugCandidates returns the debuginfo packages with c's name and version, each content once:
// those from the repository's own debuginfo first, then the others.
func debugCandidates(c *candidate) []debugCandidate {
	var own, others []debugCandidate
	seen := map[digest.Digest]bool{}
	for _, d := range c.debuginfo {
		if d.from.source == c.from.source && !seen[d.Checksum] {
			seen[d.Checksum] = true
			own = append(own, d)
		}
	}
	for _, d := range c.debuginfo {
		if !seen[d.Checksum] {
			seen[d.Checksum] = true
			others = append(others, d)
		}
	}
	return append(own, others...)
}

// pinDebuginfo fetches the debuginfo package chosen earlier and records it in the build.
func (r *run) pinDebuginfo(ctx context.Context, b *Build, debug []debugCandidate,
	chosen *digest.Digest) error {
	for _, d := range debug {
		if chosen != nil && d.Checksum == *chosen {
			file, _, err := r.fetchRPM(ctx, d.Package, d.from)
			b.Debuginfo = file
			return err
		}
	}
	return nil
}

// foundDebuginfo holds what one debuginfo package contains for a build.
type foundDebuginfo struct {
	pkg    *File
	digest digest.Digest
	files  map[string]string // path of a library → file with its debuginfo
	// base name of a file that dwz made for several others → file
	supplements map[string]string
}

// debuginfo extracts the debuginfo of the wanted libraries from the package that was built together
// with them: the first that covers all of their build-ids, else the one that covers most.
func (x *extraction) debuginfo(ctx context.Context, candidates []debugCandidate) error {
	paths := map[string]bool{}
	for _, w := range x.wanted {
		paths[w.Path] = true
	}
	var best *foundDebuginfo
	var wrong, stale []error
	for i, d := range candidates {
		f, err := x.tryDebuginfo(ctx, d, sortedKeys(paths), fmt.Sprintf("debug%d", i))
		if _, other := errors.AsType[*symtab.BuildIDError](err); other {
			wrong = append(wrong, err)
			continue
		}
		if _, unlisted := errors.AsType[*unlistedError](err); unlisted && len(candidates) > 1 {
			stale = append(stale, err) // the package may contain an entry that was not extracted
			continue
		}
		if err != nil {
			return err
		}
		if best == nil || len(f.files) > len(best.files) {
			best = f
		}
		if len(f.files) == len(paths) {
			break
		}
	}
	if len(stale) > 0 && (best == nil || len(best.files) < len(paths)) {
		return errors.Join(stale...)
	}
	if len(wrong) > 0 && (best == nil || len(best.files) == 0) {
		return odd(errors.Join(wrong...))
	}
	if best == nil {
		x.debug = map[string]string{}
		x.warnMissing(sortedKeys(paths), 0)
		return nil
	}
	x.build.Debuginfo, x.chosen, x.debug = best.pkg, &best.digest, best.files
	x.supplements = best.supplements
	x.warnMissing(sortedKeys(paths), len(candidates))
	return nil
}

// warnMissing warns of libraries without debuginfo, whose private functions are therefore unknown.
// A library that was not stripped lists them itself.
func (x *extraction) warnMissing(paths []string, candidates int) {
	which := "its debuginfo package does not cover it"
	switch {
	case candidates == 0:
		which = "there is no debuginfo package"
	case candidates > 1:
		which = fmt.Sprintf("none of its %d debuginfo packages covers all libraries", candidates)
	}
	for _, p := range paths {
		if lib := x.seen[p]; x.debug[p] == "" && (lib == nil || !lib.NamesPrivate()) {
			x.run.Progress.Warn("extract", fmt.Sprintf("%s: no debuginfo for %s (build-id %s): "+
				"%s: only exported functions can be patched",
				x.build.NEVRA(), p, x.buildID(p), which))
		}
	}
}

// tryDebuginfo extracts debuginfo for the libraries from one package. If the files have the right
// paths but belong to other builds, it returns a [*symtab.BuildIDError].
func (x *extraction) tryDebuginfo(ctx context.Context, d debugCandidate, paths []string,
	sub string) (*foundDebuginfo, error) {
	file, rpm, err := x.run.fetchRPM(ctx, d.Package, d.from)
	if err != nil {
		return nil, err
	}
	f := &foundDebuginfo{pkg: file, digest: d.Checksum, files: map[string]string{},
		supplements: map[string]string{}}
	names := map[string]string{} // path of a library → file in the package
	var want []string
	for _, p := range paths {
		if name, ok := debugFile(rpm, p, x.buildID(p)); ok {
			names[p] = name
			want = append(want, name)
		}
	}
	var supplements []string
	if len(want) > 0 {
		supplements = supplementaryFiles(rpm)
	}
	want = append(want, supplements...)
	slices.Sort(want)
	got := map[string]string{}
	if err := x.extract(ctx, rpm, slices.Compact(want), sub, got); err != nil {
		return nil, odd(fmt.Errorf("%s: %w", file.URL, err))
	}
	for _, name := range supplements {
		f.supplements[path.Base(name)] = got[name]
	}
	for p, name := range names {
		if _, err := symtab.OpenLibrary(x.files[p],
			symtab.LibraryOptions{Debug: got[name]}); err != nil {
			return nil, odd(fmt.Errorf("%s: %s for %s: %w", file.URL, name, p, err))
		}
		f.files[p] = got[name]
	}
	return f, nil
}

// buildID returns the build-id of a library in hexadecimal, or "" if it has none.
func (x *extraction) buildID(libraryPath string) string {
	if lib := x.seen[libraryPath]; lib != nil {
		return hex.EncodeToString(lib.BuildID)
	}
	return ""
}

// debugFile returns the file for a library in a debuginfo package, found by build-id, or else by
// the library's path.
func debugFile(debug *rpmfile.RPM, libraryPath, id string) (string, bool) {
	if len(id) > 2 {
		if p, ok := debug.Find("/usr/lib/debug/.build-id/" + id[:2] + "/" + id[2:] + ".debug"); ok {
			return p, true
		}
	}
	prefix := path.Join("/usr/lib/debug", libraryPath)
	for _, f := range debug.Files() {
		// "libc-2.31.so-2.31-150300.63.1.x86_64.debug" or "libc-2.31.so.debug"
		rest, ok := strings.CutPrefix(f.Name, prefix)
		if ok && f.Mode.IsRegular() && (rest == ".debug" || strings.HasPrefix(rest, "-") &&
			strings.HasSuffix(rest, ".debug")) {
			return f.Name, true
		}
	}
	return "", false
}
