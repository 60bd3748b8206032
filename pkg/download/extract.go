package download

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/rpmfile"
	"github.com/lpbuild/lpbuild/pkg/progress"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Bounds for what is extracted from one RPM.
const (
	// bytes of one file; debuginfo of the largest libraries takes some hundred MiB
	maxLibraryFile = 2 << 30
	maxLibraries   = 256 // shared libraries in one package
)

// buildIDSize is the size in bytes of a build-id in the live patch format.
const buildIDSize = 20

// wantedLibrary is a file that a patch names.
type wantedLibrary struct {
	name string // as the patch names it
	rpmfile.Located
}

// catalogue extracts the libraries of b and their debuginfo from the RPMs and catalogues their
// symbols.
func (r *run) catalogue(ctx context.Context, c *candidate, b *Build, rpm *rpmfile.RPM,
	wanted []wantedLibrary) (err error) {
	var debug []debugCandidate
	if len(wanted) > 0 {
		debug = debugCandidates(c)
	}
	key := r.extractedKey(b, wanted, debug)
	if known, ok := r.recall(ctx, key); ok {
		b.Libraries, b.Exports = known.Libraries, known.Exports
		return r.pinDebuginfo(ctx, b, debug, known.Debuginfo)
	}
	r.Progress.Emit(progress.Event{Stage: "extract", Task: b.NEVRA()})
	defer func() {
		r.Progress.Emit(progress.Event{Stage: "extract", Task: b.NEVRA(), Final: true,
			Failed: err != nil})
	}()
	tmp, err := r.Store.TempDir(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tmp.Remove()) }()
	x := &extraction{run: r, build: b, dir: tmp.Path, wanted: wanted, files: map[string]string{},
		seen: map[string]*symtab.Library{}}
	if err := x.libraries(ctx, rpm); err != nil {
		return odd(fmt.Errorf("%s: %w", b.RPM.URL, err))
	}
	if err := x.debuginfo(ctx, debug); err != nil {
		return err
	}
	if err := x.store(ctx); err != nil {
		return fmt.Errorf("%s: %w", b.RPM.URL, err)
	}
	data, err := json.Marshal(extracted{b.Libraries, b.Exports, x.chosen})
	if err != nil {
		return err
	}
	return r.Store.SetRecord("extracted", key, data)
}

// extraction holds the files of one build, unpacked.
type extraction struct {
	run    *run
	build  *Build
	dir    string // removed when the extraction is done
	wanted []wantedLibrary
	files  map[string]string // path in the package → file
	// path in the package → parsed file, for those that are libraries
	seen  map[string]*symtab.Library
	debug map[string]string // path of a library in the package → file with its debuginfo
	// base name of a file that dwz made for several others → file
	supplements map[string]string
	chosen      *digest.Digest // of the package with the debuginfo
}

// libraries extracts the wanted libraries, and all others whose symbols a live patch may need.
func (x *extraction) libraries(ctx context.Context, rpm *rpmfile.RPM) error {
	want := map[string]bool{}
	for _, w := range x.wanted {
		want[w.Path] = true
	}
	for _, f := range rpm.Files() {
		if f.Mode.IsRegular() && isLibraryDir(path.Dir(f.Name)) &&
			strings.Contains(path.Base(f.Name), ".so") && len(want) < maxLibraries {
			want[f.Name] = true
		}
	}
	if err := x.extract(ctx, rpm, sortedKeys(want), "lib", x.files); err != nil {
		return err
	}
	for p, file := range x.files {
		if lib, err := symtab.OpenLibrary(file,
			symtab.LibraryOptions{Name: path.Base(p)}); err == nil &&
			lib.Complete {
			x.seen[p] = lib
		}
	}
	return nil
}

func isLibraryDir(dir string) bool {
	switch dir {
	case "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/lib64/tls", "/usr/lib64/tls":
		return true
	}
	return false
}

func (x *extraction) extract(ctx context.Context, rpm *rpmfile.RPM, want []string, sub string,
	to map[string]string) error {
	dir := filepath.Join(x.dir, sub)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	got, err := rpm.Extract(ctx, root, want, rpmfile.ExtractOptions{MaxFile: maxLibraryFile,
		MaxTotal: 4 * maxLibraryFile})
	if err != nil {
		return err
	}
	for _, e := range got {
		to[e.Name] = filepath.Join(dir, e.Path)
	}
	return nil
}

// store puts libraries, debuginfo and catalogues into the store and describes them in the build.
func (x *extraction) store(ctx context.Context) error {
	b := x.build
	for _, w := range x.wanted {
		lib, err := x.library(ctx, w)
		if err != nil {
			return odd(fmt.Errorf("%s: %w", w.Path, err))
		}
		if !slices.ContainsFunc(b.Libraries, func(l Library) bool {
			return l.Name == lib.Name && l.BuildID == lib.BuildID
		}) {
			b.Libraries = append(b.Libraries, *lib)
		}
	}
	for i := range b.Libraries {
		if err := x.storeFiles(ctx, &b.Libraries[i]); err != nil {
			return err
		}
	}
	exports := x.exports()
	if len(b.Libraries) == 0 && len(exports.Libraries) == 0 {
		return nil // there is nothing to patch, and nothing that a patch could call
	}
	return x.storeExports(ctx, exports)
}

// storeFiles copies a library and its debuginfo into the store. Two names may refer to one file.
func (x *extraction) storeFiles(ctx context.Context, lib *Library) error {
	for _, other := range x.build.Libraries {
		if other.Path == lib.Path && !other.Digest.IsZero() {
			lib.Digest, lib.Debuginfo = other.Digest, other.Debuginfo
			return nil
		}
	}
	if debug := x.debug[lib.Path]; debug != "" {
		d, err := x.run.Store.PutFile(ctx, debug)
		if err != nil {
			return err
		}
		lib.Debuginfo = &d
	}
	var err error
	lib.Digest, err = x.run.Store.PutFile(ctx, x.files[lib.Path])
	return err
}

// library catalogues a wanted library.
func (x *extraction) library(ctx context.Context, w wantedLibrary) (*Library, error) {
	base := path.Base(Home(x.build.Source, x.build.EVR(), w.name))
	parsed, err := symtab.OpenLibrary(x.files[w.Path],
		symtab.LibraryOptions{Name: base, Debug: x.debug[w.Path], Prove: true})
	if err != nil {
		return nil, err
	}
	if string(parsed.Arch) != x.build.Arch {
		return nil, fmt.Errorf("is for %s, but its package is for %s", parsed.Arch, x.build.Arch)
	}
	switch n := len(parsed.BuildID); n {
	case buildIDSize:
	case 0:
		return nil, errors.New("has no build-id, so it cannot be identified in a process")
	case 1:
		return nil, fmt.Errorf("its build-id has 1 byte; live patches identify libraries by "+
			"build-ids of %d bytes (SHA-1)", buildIDSize)
	default:
		return nil, fmt.Errorf("its build-id has %d bytes; live patches identify libraries by "+
			"build-ids of %d bytes (SHA-1)", n, buildIDSize)
	}
	catalogue := parsed.AppendCatalogue(nil)
	d := digest.OfBytes(catalogue)
	lib := &Library{
		Name: w.name, Variant: w.Variant, Path: w.Path, BuildID: hex.EncodeToString(parsed.BuildID),
		Catalogue: x.fileName(base, d, ".json"), Pinned: d,
	}
	if err := lib.check(); err != nil {
		return nil, err
	}
	if err := x.facts(ctx, lib, base); err != nil {
		return nil, err
	}
	_, err = x.run.Store.Put(ctx, d, bytes.NewReader(catalogue), int64(len(catalogue)))
	return lib, err
}

// fileName returns the name of a file in the catalogue:
// ARCH/PLATFORM/PACKAGE/VERSION-RELEASE/BASE-DIGEST with a suffix. The digest distinguishes two
// libraries with one base name in a build, and a file that a lock names never changes.
func (x *extraction) fileName(base string, d digest.Digest, suffix string) string {
	b := x.build
	evr := b.Version + "-" + b.Release
	if b.Epoch != 0 {
		evr = fmt.Sprintf("%d_%s", b.Epoch, evr)
	}
	return path.Join(CatalogueDir, b.Arch, x.run.Product, b.Name, evr, base+"-"+
		d.Hex[:digestDigits]+suffix)
}

// exports lists what every shared library of the build exports. Of several with one SONAME it takes
// the one for all processors, and of these the one with the first path.
func (x *extraction) exports() *ExportList {
	all := map[string]ExportedLibrary{}
	paths := sortedKeys(x.seen)
	slices.SortStableFunc(paths, func(a, b string) int { return rank(a) - rank(b) })
	for _, p := range paths {
		lib := x.seen[p]
		if lib.SONAME == "" || len(lib.SONAME) > 255 {
			continue // nothing links against it
		}
		if _, met := all[lib.SONAME]; !met {
			all[lib.SONAME] = ExportedLibrary{Path: p, Needed: lib.Needed, Symbols: exportsOf(lib)}
		}
	}
	return &ExportList{Format: ExportsFormat, Libraries: all}
}

// rank sorts libraries in directories that every loader searches before all others.
func rank(libraryPath string) int {
	if isLibraryDir(path.Dir(libraryPath)) {
		return 0
	}
	return 1
}

func exportsOf(lib *symtab.Library) []string {
	list := []string{}
	for s := range lib.Symbols() {
		if !s.Dynamic || s.Undefined || s.Bind() == 0 {
			continue
		}
		if s.Version != "" {
			list = append(list, s.Name+"@"+s.Version)
		} else {
			list = append(list, s.Name)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (x *extraction) storeExports(ctx context.Context, exports *ExportList) error {
	data, err := exports.Bytes()
	if err != nil {
		return err
	}
	d := digest.OfBytes(data)
	x.build.Exports = &Exports{File: x.fileName("exports", d, ".json"), Digest: d}
	_, err = x.run.Store.Put(ctx, d, bytes.NewReader(data), int64(len(data)))
	return err
}

// extracted is what the store remembers of a build's RPMs, so that they are unpacked only once.
type extracted struct {
	Libraries []Library
	Exports   *Exports       // nil if there is no library in it
	Debuginfo *digest.Digest // of the package it was taken from; nil if there is none
}

// extractedKey returns a key that changes with everything that extracted depends on.
func (r *run) extractedKey(b *Build, wanted []wantedLibrary, debug []debugCandidate) string {
	parts := []string{catalogueVersion, r.Product, b.RPM.Digest.String()}
	for _, w := range wanted {
		parts = append(parts, w.name+"="+w.Path+"="+w.Variant)
	}
	for _, d := range debug {
		parts = append(parts, "debuginfo "+d.Checksum.String())
	}
	return digest.OfBytes([]byte(strings.Join(parts, "\n"))).Hex
}

// recall returns what an earlier run stored, if all of it is still there. It reads the catalogues:
// a damaged one is removed, and made again.
func (r *run) recall(ctx context.Context, key string) (*extracted, bool) {
	data, err := r.Store.Record("extracted", key)
	if err != nil {
		return nil, false
	}
	e := extracted{}
	if json.Unmarshal(data, &e) != nil {
		return nil, false
	}
	for _, lib := range e.Libraries {
		if lib.check() != nil || !r.isWhole(ctx, lib.Pinned) || !r.Store.Has(lib.Digest) ||
			lib.Debuginfo != nil && !r.Store.Has(*lib.Debuginfo) ||
			lib.Facts != nil && !r.isWhole(ctx, lib.Facts.Digest) {
			return nil, false
		}
	}
	if e.Exports == nil && len(e.Libraries) > 0 ||
		e.Exports != nil && !r.isWhole(ctx, e.Exports.Digest) {
		return nil, false
	}
	return &e, true
}

// isWhole reports whether the store has the content with digest d, unchanged. Damaged content is
// removed.
func (r *run) isWhole(ctx context.Context, d digest.Digest) bool {
	f, err := r.Store.OpenVerified(ctx, d)
	if err != nil {
		return false
	}
	f.Close()
	return true
}
