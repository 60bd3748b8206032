package distro

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// cacheFormat changes when the same inputs are to give other results.
	cacheFormat = "1"
	// cacheAge is how long an unused entry stays.
	cacheAge = 30 * 24 * time.Hour
)

// CacheDir returns the directory that cachedRPMs, [CachedKey] and [Remember] use: lpbuild-distro
// in the user's cache directory. It may be removed whenever nothing uses it.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache directory for built packages: %w", err)
	}
	return filepath.Join(dir, "lpbuild-distro"), nil
}

// cachedRPMs returns the result of makeRPMs from the cache. A build is made again only if it, the
// stand-in, the compiler or rpm changed. Processes that want one build at once wait for the first
// of them.
//
// The files are shared: copy a file before you change it, as [MakeRepository] does.
func cachedRPMs(ctx context.Context, builds []Build) (rpms, debuginfo []string, err error) {
	if builds, err = normalBuilds(builds); err != nil {
		return nil, nil, err
	}
	tools := map[string]string{}
	for _, b := range builds {
		if tools[b.Arch] == "" {
			if tools[b.Arch], err = toolVersions(ctx, b.Arch); err != nil {
				return nil, nil, err
			}
		}
	}
	dirs := make([]string, len(builds))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, b := range builds {
		g.Go(func() (err error) {
			dirs[i], err = cachedBuild(gctx, b, tools[b.Arch])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	where := map[Build]string{}
	for i, b := range builds {
		where[b] = dirs[i]
	}
	rpms, debuginfo = rpmPaths(builds, func(b Build) string { return where[b] })
	return rpms, debuginfo, nil
}

func cachedBuild(ctx context.Context, b Build, tools string) (string, error) {
	sources, err := sourcesDigest()
	if err != nil {
		return "", err
	}
	spec, err := specText(b)
	if err != nil {
		return "", err
	}
	return Remember(ctx, "rpms", []any{b, tools, sources, string(spec),
		compressions[b.Compression]},
		func(dir string) error { return makeRPM(ctx, dir, b) })
}

// sourcesDigest returns a digest of the embedded directory.
func sourcesDigest() (string, error) {
	h := sha256.New()
	err := fs.WalkDir(standin, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := standin.ReadFile(name)
		fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// CachedKey returns a key like newKey's in dir. Equal options always give the same key; number
// distinguishes keys that must differ.
func CachedKey(ctx context.Context, dir string, o KeyOptions, number int) (*Key, error) {
	o, err := o.normal()
	if err != nil {
		return nil, err
	}
	// A key is made again every year: see keyLifetime.
	cached, err := Remember(ctx, "keys", []any{o, number, time.Now().Year()},
		func(dir string) error {
			_, err := newKey(ctx, dir, o)
			return err
		})
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if err := plainPath(dir); err != nil {
		return nil, err
	}
	if files, err := os.ReadDir(dir); err == nil && len(files) > 0 {
		return nil, fmt.Errorf("key: %s is not empty", dir)
	}
	if err := copyKey(dir, cached); err != nil {
		return nil, err
	}
	return openKey(dir)
}

// copyKey copies a key's directory, without sockets that an agent has left; GnuPG insists on modes
// that [os.CopyFS] does not keep for directories.
func copyKey(dir, from string) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		switch to := filepath.Join(dir, rel); {
		case d.IsDir():
			return os.MkdirAll(to, 0o700)
		case d.Type().IsRegular():
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			return os.WriteFile(to, text, 0o600)
		}
		return nil
	})
}

// Remember returns a directory below [CacheDir] that fill has filled, now or earlier, for the same
// inputs and kind, a file name. The directory gets its name only when it is complete, and is
// removed after a month without use.
func Remember(ctx context.Context, kind string, inputs []any,
	fill func(dir string) error) (string, error) {
	text, err := json.Marshal(append(inputs, cacheFormat))
	if err != nil {
		return "", err
	}
	root, err := CacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	dir := filepath.Join(root, kind, hex.EncodeToString(sum[:16]))
	if touch(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if touch(dir) { // another process made it while this one waited
		return dir, nil
	}
	trim(filepath.Dir(dir))
	temp, err := os.MkdirTemp(filepath.Dir(dir), "tmp-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	if err := fill(temp); err != nil {
		return "", err
	}
	if err := os.Rename(temp, dir); err != nil && !touch(dir) {
		return "", err
	}
	return dir, nil
}

// touch marks an entry as used and reports whether it exists.
func touch(dir string) bool {
	now := time.Now()
	return os.Chtimes(dir, now, now) == nil
}

// trim removes entries that have long been unused, and leftovers of killed processes. Failures are
// ignored.
func trim(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > cacheAge {
			os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
}

// lock takes an exclusive lock on a file, which is created if necessary and stays. The kernel
// releases the lock if this process dies.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, &os.PathError{Op: "lock", Path: name, Err: err}
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("waiting for lock %s: %w", name, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}
