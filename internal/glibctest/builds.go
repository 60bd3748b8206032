package glibctest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/lpbuild/lpbuild/internal/distro"
)

// glibcBuild is one released build of glibc.
type glibcBuild struct {
	Version, Release string
	Dir              string // has Loader and libc.so.6 as installed, stripped: for --library-path
	Loader           string // path of the dynamic loader, which starts a program on this build
	Libc             string // path of libc.so.6
	RPM, Debuginfo   string
}

// releases are the releases of the builds. RPM orders them differently from strings.
var releases = []string{"150600.9.1", "150600.14.2.1", "150600.14.11.1"}

// makeBuilds makes the builds, or finds them in the cache. It calls say with the progress of slow
// steps. The error wraps errUnsupported unless this is a Debian on x86_64.
func makeBuilds(ctx context.Context, say func(format string, args ...any)) ([]glibcBuild, error) {
	if runtime.GOARCH != "amd64" {
		return nil, fmt.Errorf("%w: assembly code gets its NOPs from a macro for x86_64, and "+
			"this machine is %s", errUnsupported, runtime.GOARCH)
	}
	source, err := cachedSource(ctx, say)
	if err != nil {
		return nil, err
	}
	linked, err := linkedBuilds(ctx, source, say)
	if err != nil {
		return nil, fmt.Errorf("glibc %s: %w", source.Debian, err)
	}
	builds := make([]glibcBuild, len(releases))
	for i := range releases {
		if builds[i], err = pack(ctx, source, i, filepath.Join(linked, strconv.Itoa(i)),
			say); err != nil {
			return nil, fmt.Errorf("glibc %s-%s: %w", source.Version, releases[i], err)
		}
	}
	return builds, nil
}

// linkedBuilds returns a directory with a subdirectory for each build, "0", "1" and so on, that has
// its unstripped files.
func linkedBuilds(ctx context.Context, s *sourcePackage, say func(string, ...any)) (string, error) {
	description, err := os.ReadFile(s.Description)
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(description)
	var versions []string
	for _, name := range []string{"gcc", "ld"} {
		version, err := tool{args: []string{name, "--version"}}.run(ctx)
		if err != nil {
			return "", err
		}
		versions = append(versions, version)
	}
	inputs := []any{hex.EncodeToString(digest[:]), versions, compilerFlags, optimization,
		configureFlags, entryHeader, linkFlags}
	for i := range releases {
		inputs = append(inputs, fillerText(i))
	}
	return distro.Remember(ctx, "glibc-linked", inputs,
		func(dir string) error { return linkAll(ctx, dir, s, say) })
}

// linkAll compiles once and links once for each build. Only the results stay.
func linkAll(ctx context.Context, dir string, s *sourcePackage, say func(string, ...any)) error {
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	t, err := compile(ctx, work, s, say)
	if err != nil {
		return err
	}
	for i := range releases {
		say("linking build %d of %d", i+1, len(releases))
		if err := t.link(ctx, filepath.Join(dir, strconv.Itoa(i)), i); err != nil {
			return err
		}
	}
	return os.RemoveAll(work)
}
