package download

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lpbuild/lpbuild/internal/atomicfile"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/store"
)

// CatalogueDir is the folder of the catalogue below a package folder.
const CatalogueDir = "catalogue"

// catalogueVersion changes when the same RPM gives other catalogue files than before.
const catalogueVersion = "7"

// digestDigits is how many digits of a file's SHA-256 are in its name.
const digestDigits = 16

// files yields what of the package folder a build names: path below the folder and digest.
func (b *Build) files() iter.Seq2[string, digest.Digest] {
	return func(yield func(string, digest.Digest) bool) {
		for _, lib := range b.Libraries {
			if !yield(lib.Catalogue, lib.Pinned) {
				return
			}
		}
		if b.Exports != nil {
			yield(b.Exports.File, b.Exports.Digest)
		}
	}
}

// files returns what of the package folder a lock names: path below the folder and digest.
func (l *Lock) files() map[string]digest.Digest {
	all := map[string]digest.Digest{}
	for i := range l.Builds {
		maps.Insert(all, l.Builds[i].files())
	}
	return all
}

// Files returns the catalogue files that the lock names, below the package folder, sorted.
func (l *Lock) Files() []string { return sortedKeys(l.files()) }

// materialise brings the catalogue files that a lock names from the store into the package folder. It returns the names
// of those that were not there before, also beside an error.
func materialise(ctx context.Context, l *Lock, st *store.Store, dir string) (written []string, err error) {
	files := l.files()
	for _, name := range sortedKeys(files) {
		target := filepath.Join(dir, filepath.FromSlash(name))
		d, err := digest.OfFile(target)
		if err == nil && d == files[name] {
			continue
		}
		isNew := errors.Is(err, fs.ErrNotExist)
		data, err := readStored(ctx, st, files[name])
		if err != nil {
			return written, fmt.Errorf("%s: %w", name, err)
		}
		if err := atomicfile.Write(target, data, 0o644); err != nil {
			return written, err
		}
		if isNew {
			written = append(written, name)
		}
	}
	return written, nil
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

func readStored(ctx context.Context, st *store.Store, d digest.Digest) ([]byte, error) {
	f, err := st.OpenVerified(ctx, d)
	if errors.Is(err, store.ErrMissing) {
		return nil, fmt.Errorf("%w: %w: run lpbuild download with the network", ErrNotStored, err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// Offline makes the catalogue complete from the lock and the store alone.
func Offline(ctx context.Context, lockFile, dir string, st *store.Store) (*Lock, error) {
	l, err := ReadLock(lockFile)
	if err != nil {
		return nil, err
	}
	_, err = materialise(ctx, l, st, dir)
	return l, err
}

// removeStale removes the catalogue files that lock l does not name: those of the former lock, which may be nil, and those
// that a download left behind that was killed before it wrote its lock.
func removeStale(dir string, former, l *Lock) {
	stale := leftovers(dir)
	if former != nil {
		stale = append(stale, former.Files()...)
	}
	now := l.files()
	removeFiles(dir, slices.DeleteFunc(stale, func(name string) bool {
		_, used := now[name]
		return used
	}))
}

// leftoverAge is how long a file of the catalogue may belong to a download under way.
const leftoverAge = 24 * time.Hour

// leftovers returns the old files of the catalogue whose names have the digest of their content, so that they are ours.
func leftovers(dir string) []string {
	var names []string
	_ = filepath.WalkDir(filepath.Join(dir, CatalogueDir), func(file string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		stem, isJSON := strings.CutSuffix(e.Name(), ".json")
		_, digits, _ := cutLast(stem, "-")
		if info, err := e.Info(); err != nil || !isJSON || len(digits) != digestDigits || time.Since(info.ModTime()) < leftoverAge {
			return nil
		}
		if d, err := digest.OfFile(file); err == nil && strings.HasPrefix(d.Hex, digits) {
			if name, err := filepath.Rel(dir, file); err == nil {
				names = append(names, filepath.ToSlash(name))
			}
		}
		return nil
	})
	return names
}

// removeFiles removes files of the catalogue, and folders that become empty by that.
func removeFiles(dir string, names []string) {
	for _, name := range names {
		for p := name; p != "." && p != "/"; p = path.Dir(p) {
			if os.Remove(filepath.Join(dir, filepath.FromSlash(p))) != nil {
				break // not empty, or already gone
			}
		}
	}
}

// cutLast is strings.Cut at the last separator.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
