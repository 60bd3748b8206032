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

	"github.com/lpbuild/lpbuild/pkg/atomicfile"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/rpmfile"
	"github.com/lpbuild/lpbuild/pkg/download/store"
	"github.com/lpbuild/lpbuild/pkg/progress"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// CatalogueDir is the folder of the catalogue below a package folder.
const CatalogueDir = "catalogue"

// catalogueVersion changes when the same RPM gives other catalogue files than before.
const catalogueVersion = "2"

// Bounds for what is taken out of one RPM.
const (
	maxLibraryFile = 2 << 30 // bytes of one file; debuginfo of the largest libraries has some hundred MiB
	maxLibraries   = 256     // shared libraries in one package
)

// ExportsName is the file beside a build's catalogues that lists what all its shared libraries export.
const ExportsName = "exports.json"

// catalogue takes the libraries of b and their debuginfo out of the RPMs and catalogues their symbols. paths are the
// wanted libraries' places in the package, by name.
func (r *run) catalogue(ctx context.Context, b *Build, rpm, debug *rpmfile.RPM, paths map[string]string) (err error) {
	key := r.extractedKey(b, paths)
	if r.recall(b, key) {
		return nil
	}
	r.Progress.Emit(progress.Event{Stage: "extract", Task: b.NEVRA()})
	defer func() {
		r.Progress.Emit(progress.Event{Stage: "extract", Task: b.NEVRA(), Final: true, Failed: err != nil})
	}()
	tmp, err := os.MkdirTemp("", "lpbuild-extract-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	x := &extraction{run: r, build: b, dir: tmp, files: map[string]string{}, debug: map[string]string{}}
	if err := x.libraries(ctx, rpm, paths); err != nil {
		return err
	}
	if debug != nil {
		if err := x.debuginfo(ctx, debug, paths); err != nil {
			return fmt.Errorf("debuginfo %s: %w", debug.NEVRA(), err)
		}
	}
	if err := x.store(ctx, paths); err != nil {
		return err
	}
	data, err := json.Marshal(extracted{b.Libraries, b.Exports})
	if err != nil {
		return err
	}
	return r.Store.SetRecord("extracted", key, data)
}

// extraction is the files of one build, outside of their RPMs.
type extraction struct {
	run   *run
	build *Build
	dir   string            // removed when the extraction is over
	files map[string]string // path in the package → file
	debug map[string]string // path of a library in the package → file with its debuginfo
}

// libraries takes the wanted libraries out of the package, and all others that a live patch could need symbols from.
func (x *extraction) libraries(ctx context.Context, rpm *rpmfile.RPM, paths map[string]string) error {
	want := map[string]bool{}
	for _, p := range paths {
		want[p] = true
	}
	for _, f := range rpm.Files() {
		if f.Mode.IsRegular() && isLibraryFolder(path.Dir(f.Name)) && strings.Contains(path.Base(f.Name), ".so") && len(want) < maxLibraries {
			want[f.Name] = true
		}
	}
	return x.extract(ctx, rpm, keys(want), "lib", x.files)
}

func isLibraryFolder(dir string) bool {
	switch dir {
	case "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/lib64/tls", "/usr/lib64/tls":
		return true
	}
	return false
}

func (x *extraction) debuginfo(ctx context.Context, debug *rpmfile.RPM, paths map[string]string) error {
	files := map[string]string{} // file in the debuginfo package → path of the library
	for _, p := range paths {
		image, err := os.ReadFile(x.files[p])
		if err != nil {
			return err
		}
		lib, err := ulp.ParseLibrary(image, nil, path.Base(p))
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		if name, ok := debugFile(debug, p, lib.BuildID); ok {
			files[name] = p
		} else {
			x.run.Progress.Warn("extract", fmt.Sprintf("%s has no debuginfo for %s (build-id %x)", debug.NEVRA(), p, lib.BuildID))
		}
	}
	if len(files) == 0 {
		return nil
	}
	got := map[string]string{}
	if err := x.extract(ctx, debug, keys(files), "debug", got); err != nil {
		return err
	}
	for name, p := range files {
		x.debug[p] = got[name]
	}
	return nil
}

func (x *extraction) extract(ctx context.Context, rpm *rpmfile.RPM, want []string, sub string, to map[string]string) error {
	dir := filepath.Join(x.dir, sub)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	slices.Sort(want)
	got, err := rpm.Extract(ctx, root, want, rpmfile.ExtractOptions{MaxFile: maxLibraryFile, MaxTotal: 4 * maxLibraryFile})
	if err != nil {
		return err
	}
	for _, e := range got {
		to[e.Name] = filepath.Join(dir, e.Path)
	}
	return nil
}

// store puts libraries, debuginfo and catalogues into the store and describes them in the build. Files move into the
// store, so that each is read before.
func (x *extraction) store(ctx context.Context, paths map[string]string) error {
	exports, err := x.exports()
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(paths) {
		lib, err := x.library(ctx, name, paths[name])
		if err != nil {
			return fmt.Errorf("%s: %w", paths[name], err)
		}
		x.build.Libraries = append(x.build.Libraries, *lib)
	}
	for i := range x.build.Libraries {
		if err := x.storeFiles(ctx, &x.build.Libraries[i]); err != nil {
			return err
		}
	}
	x.build.Exports, err = x.storeExports(ctx, exports)
	return err
}

// storeFiles moves a library and its debuginfo into the store. Two names may stand for one file.
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

func (x *extraction) library(ctx context.Context, name, libraryPath string) (*Library, error) {
	file := x.files[libraryPath]
	base := path.Base(Home(x.build.Name, x.build.EVR(), name))
	parsed, err := ulp.OpenLibrary(file, ulp.LibraryOptions{Name: base, Debug: x.debug[libraryPath]})
	if err != nil {
		return nil, err
	}
	if string(parsed.Arch) != x.build.Arch {
		return nil, fmt.Errorf("is for %s, its package for %s", parsed.Arch, x.build.Arch)
	}
	if len(parsed.BuildID) == 0 {
		return nil, errors.New("has no build-id: it cannot be told apart in a process")
	}
	catalogue := parsed.AppendCatalogue(nil)
	lib := &Library{
		Name: name, Path: libraryPath, BuildID: hex.EncodeToString(parsed.BuildID),
		Catalogue: path.Join(x.folder(), path.Base(name)+".json"), Pinned: digest.OfBytes(catalogue),
	}
	_, err = x.run.Store.Put(ctx, lib.Pinned, bytes.NewReader(catalogue), int64(len(catalogue)))
	return lib, err
}

// folder is where the build's catalogue files are: ARCH/PLATFORM/PACKAGE/VERSION-RELEASE.
func (x *extraction) folder() string {
	b := x.build
	evr := b.Version + "-" + b.Release
	if b.Epoch != 0 {
		evr = fmt.Sprintf("%d_%s", b.Epoch, evr)
	}
	return path.Join(CatalogueDir, b.Arch, x.run.Product, b.Name, evr)
}

// exports lists what every shared library of the build exports. Of several with one SONAME that of the first path counts.
func (x *extraction) exports() (*ExportList, error) {
	all := map[string]ExportedLibrary{}
	for _, p := range sortedKeys(x.files) {
		file := x.files[p]
		image, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		lib, err := ulp.ParseLibrary(image, nil, path.Base(p))
		if err != nil || lib.SONAME == "" || len(lib.SONAME) > 255 {
			continue // a linker script, or not a library that anything is linked against
		}
		if _, met := all[lib.SONAME]; !met {
			all[lib.SONAME] = ExportedLibrary{Path: p, Needed: lib.Needed, Symbols: exportsOf(lib)}
		}
	}
	return &ExportList{Format: ExportsFormat, Libraries: all}, nil
}

func exportsOf(lib *ulp.Library) []string {
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

func (x *extraction) storeExports(ctx context.Context, exports *ExportList) (*Exports, error) {
	data, err := exports.Bytes()
	if err != nil {
		return nil, err
	}
	e := &Exports{File: path.Join(x.folder(), ExportsName), Digest: digest.OfBytes(data)}
	_, err = x.run.Store.Put(ctx, e.Digest, bytes.NewReader(data), int64(len(data)))
	return e, err
}

// files returns what of the package folder a lock names: path below the folder and digest.
func (l *Lock) files() map[string]digest.Digest {
	all := map[string]digest.Digest{}
	for _, b := range l.Builds {
		for _, lib := range b.Libraries {
			all[lib.Catalogue] = lib.Pinned
		}
		if b.Exports != nil {
			all[b.Exports.File] = b.Exports.Digest
		}
	}
	return all
}

// Files returns the catalogue files that the lock names, below the package folder, sorted.
func (l *Lock) Files() []string { return sortedKeys(l.files()) }

// materialise brings the catalogue files that a lock names from the store into the package folder.
func materialise(ctx context.Context, l *Lock, st *store.Store, dir string) error {
	files := l.files()
	for _, name := range sortedKeys(files) {
		if err := ctx.Err(); err != nil {
			return err
		}
		target := filepath.Join(dir, filepath.FromSlash(name))
		if d, err := digest.OfFile(target); err == nil && d == files[name] {
			continue
		}
		data, err := readStored(st, files[name])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := atomicfile.Write(target, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// CheckFiles reports whether the catalogue in the package folder dir is what the lock pins.
func (l *Lock) CheckFiles(dir string) error {
	files := l.files()
	for _, name := range sortedKeys(files) {
		d, err := digest.OfFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return fmt.Errorf("the catalogue is not complete: %w: run lpbuild download", err)
		}
		if d != files[name] {
			return fmt.Errorf("%s: %w: it is not what the lock pins: run lpbuild download", name, digest.ErrMismatch)
		}
	}
	return nil
}

func readStored(st *store.Store, d digest.Digest) ([]byte, error) {
	data, err := os.ReadFile(st.Path(d))
	if err != nil {
		return nil, fmt.Errorf("%w (%s): run lpbuild download with the network", ErrNotStored, d)
	}
	if digest.OfBytes(data) != d {
		return nil, fmt.Errorf("%w: %s is damaged in the store: remove %s", digest.ErrMismatch, d, st.Path(d))
	}
	return data, nil
}

// Offline makes the catalogue complete from the lock and the store alone.
func Offline(ctx context.Context, lockFile, dir string, st *store.Store) (*Lock, error) {
	l, err := ReadLock(lockFile)
	if err != nil {
		return nil, err
	}
	return l, materialise(ctx, l, st, dir)
}

// removeStale removes the catalogue files that only the former lock names, and folders that become empty by that.
func removeStale(dir string, former, l *Lock) {
	now := l.files()
	for name := range former.files() {
		if _, used := now[name]; used || !strings.HasPrefix(name, CatalogueDir+"/") {
			continue
		}
		for p := name; p != "." && p != "/"; p = path.Dir(p) {
			if os.Remove(filepath.Join(dir, filepath.FromSlash(p))) != nil {
				break // not empty, or already gone
			}
		}
	}
}

func keys[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	return list
}

func sortedKeys[V any](m map[string]V) []string {
	list := keys(m)
	slices.Sort(list)
	return list
}
