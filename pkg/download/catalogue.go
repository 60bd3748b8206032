package download

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// CatalogueDir is the directory of the catalogue below a package directory.
const CatalogueDir = "catalogue"

// catalogueVersion changes whenever the same RPM yields different catalogue files.
const catalogueVersion = "8"

// digestDigits is the number of digits of a file's SHA-256 in its name.
const digestDigits = 16

// materialise copies the catalogue files that a lock names from the store to the package directory.
// It returns the names of those that were not there before, even if it fails.
func materialise(ctx context.Context, l *Lock, st *store.Store,
	dir string) (written []string, err error) {
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

func readStored(ctx context.Context, st *store.Store, d digest.Digest) ([]byte, error) {
	f, err := st.OpenVerified(ctx, d)
	if errors.Is(err, store.ErrMissing) {
		return nil, fmt.Errorf("%w: %w: run lpbuild download while online", ErrNotStored, err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// Offline completes the catalogue from the lock and the store alone.
func Offline(ctx context.Context, lockFile, dir string, st *store.Store) (*Lock, error) {
	l, err := ReadLock(lockFile)
	if err != nil {
		return nil, err
	}
	_, err = materialise(ctx, l, st, dir)
	return l, err
}

// removeStale removes the catalogue files that lock l does not name: those of the former lock,
// which may be nil, and those left by a download that was killed before it wrote its lock.
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

// leftoverAge is the age up to which a catalogue file may belong to a download still running.
const leftoverAge = 24 * time.Hour

// leftovers returns the old files of the catalogue that lpbuild wrote: their names contain the
// digest of their content.
func leftovers(dir string) []string {
	var names []string
	_ = filepath.WalkDir(filepath.Join(dir, CatalogueDir),
		func(file string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return nil
			}
			stem, ours := strings.CutSuffix(e.Name(), ".json")
			if !ours {
				stem, ours = strings.CutSuffix(e.Name(), factsSuffix)
			}
			_, digits, _ := cutLast(stem, "-")
			if info, err := e.Info(); err != nil || !ours || len(digits) != digestDigits ||
				time.Since(info.ModTime()) < leftoverAge {
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

// removeFiles removes files of the catalogue, and directories that become empty.
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
