package glibctest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/lpbuild/lpbuild/internal/distro"
)

// sourcePackage is Debian's source package of glibc.
type sourcePackage struct {
	Description string // the .dsc file; the files that it names are beside it
	Version     string // of glibc itself: "2.36"
	Debian      string // of the package: "2.36-9+deb12u14"
}

// errUnsupported means that a glibc for live patching cannot be built on this machine.
var errUnsupported = errors.New("no glibc for live patching can be built here")

// cachedSource downloads the source package from the machine's own package sources, or finds it in
// the cache. It is downloaded again when the machine's libc6 or its package sources change. apt
// verifies it like any package.
func cachedSource(ctx context.Context, say func(string, ...any)) (*sourcePackage, error) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return nil, fmt.Errorf("%w: that needs Debian's source package, which apt-get downloads: "+
			"%w", errUnsupported, err)
	}
	sources, err := aptSources("/etc/apt")
	if err != nil {
		return nil, err
	}
	installed, err := tool{args: []string{"dpkg-query", "-W", "-f", "${source:Version}",
		"libc6"}}.run(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := distro.Remember(ctx, "glibc-source", []any{sources, installed},
		func(dir string) error {
			say("fetching Debian's source package of glibc")
			return fetchSource(ctx, dir, sources)
		})
	if err != nil {
		return nil, fmt.Errorf("source package of glibc: %w", err)
	}
	return readSource(dir)
}

// fetchSource downloads the source package into dir. apt gets its own lists and caches, so that
// those of the machine stay as they are.
func fetchSource(ctx context.Context, dir string, sources map[string]string) error {
	apt := filepath.Join(dir, "apt")
	for _, sub := range []string{"sources", "lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(apt, sub), 0o755); err != nil {
			return err
		}
	}
	defer os.RemoveAll(apt)
	for name, text := range sources {
		if err := os.WriteFile(filepath.Join(apt, "sources", name), []byte(text),
			0o644); err != nil {
			return err
		}
	}
	settings := fmt.Sprintf("Dir::Etc::sourcelist \"/dev/null\";\nDir::Etc::sourceparts "+
		"%q;\nDir::State::lists %q;\nDir::Cache %q;\n"+
		"APT::Sandbox::User \"root\";\n", apt+"/sources", apt+"/lists", apt+"/cache")
	config := filepath.Join(apt, "apt.conf")
	if err := os.WriteFile(config, []byte(settings), 0o644); err != nil {
		return err
	}
	// It is not an error if one package source has no source packages, as long as another one has
	// this one.
	_, updateErr := tool{dir: dir, env: proxies("APT_CONFIG=" + config),
		args: []string{"apt-get", "-q", "update"}}.run(ctx)
	_, err := tool{dir: dir, env: proxies("APT_CONFIG=" + config),
		args: []string{"apt-get", "-q", "source", "--download-only", "glibc"}}.run(ctx)
	if err != nil {
		return errors.Join(err, updateErr)
	}
	return nil
}

// proxies adds the proxy settings of the environment.
func proxies(env ...string) []string {
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy"} {
		if value := os.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// debianVersion matches the field of a .dsc file that contains the upstream version.
var debianVersion = regexp.MustCompile(`(?m)^Version: (([0-9]+\.[0-9]+)[-.+~0-9A-Za-z]*)\s*$`)

// readSource reads what fetchSource left.
func readSource(dir string) (*sourcePackage, error) {
	names, err := filepath.Glob(filepath.Join(dir, "glibc_*.dsc"))
	if err != nil || len(names) != 1 {
		return nil, fmt.Errorf("source package of glibc: %d .dsc files in %s (%w)", len(names), dir,
			errors.Join(err, os.ErrNotExist))
	}
	text, err := os.ReadFile(names[0])
	if err != nil {
		return nil, err
	}
	m := debianVersion.FindStringSubmatch(string(text))
	if m == nil {
		return nil, fmt.Errorf("%s: it has no version of glibc", names[0])
	}
	return &sourcePackage{Description: names[0], Debian: strings.TrimSpace(m[1]), Version: m[2]},
		nil
}
