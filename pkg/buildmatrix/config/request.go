package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/fetch"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
)

// maxKeys bounds a file with pinned keys, in bytes.
const maxKeys = 4 << 20

// Request says what the package needs downloaded. Ages count back from now. The release version is
// the product's.
func (c *Config) Request(now time.Time) (download.Request, error) {
	req := download.Request{Product: c.Product, ReleaseVersion: ReleaseVersion(c.Product)}
	for _, arch := range c.Arch {
		req.Arch = append(req.Arch, string(arch))
	}
	for _, p := range c.Packages {
		w := download.Package{Name: p.Name, Builds: p.Builds}
		if !p.Since.IsZero() {
			w.NotBefore = p.Since.Before(now)
		}
		req.Packages = append(req.Packages, w)
	}
	for _, p := range c.Patches {
		if !slices.Contains(req.Libraries, p.Library) {
			req.Libraries = append(req.Libraries, p.Library)
		}
	}
	for _, r := range c.Repositories {
		s, err := c.source(r, now)
		if err != nil {
			return download.Request{}, fmt.Errorf("%s: %w", c.Path, err)
		}
		req.Repositories = append(req.Repositories, s)
	}
	return req, nil
}

func (c *Config) source(r Repository, now time.Time) (download.Source, error) {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return download.Source{}, err
	}
	s := download.Source{Unsigned: r.Unsigned}
	if !r.MaxAge.IsZero() {
		s.NotBefore = r.MaxAge.Before(now)
	}
	if s.Main, err = fetch.ParseLocation(r.URL, dir); err != nil {
		return s, fmt.Errorf("url: %w", err)
	}
	if r.Debuginfo != "" {
		debug, err := fetch.ParseLocation(r.Debuginfo, dir)
		if err != nil {
			return s, fmt.Errorf("debuginfo: %w", err)
		}
		s.Debuginfo = &debug
	}
	for _, name := range r.Keys {
		data, err := regularfile.Read(c.File(name), maxKeys)
		if err != nil {
			return s, err
		}
		keys, err := pgp.ReadKeys(data)
		if err != nil {
			return s, fmt.Errorf("%s: %w", c.File(name), err)
		}
		if s.Keys == nil {
			s.Keys = keys
		} else {
			s.Keys.Merge(keys)
		}
	}
	return s, nil
}

var (
	productArch    = lazyregexp.New(`x86_64|ppc64le|aarch64|s390x`)
	productVersion = lazyregexp.New(`(?i)(sp)?([0-9]+(?:\.[0-9]+)*)`)
)

// ReleaseVersion returns what $releasever in .repo files stands for, by the name of a product:
// "15.5" for SLE-15-SP5, "40" for Fedora-40; "" if it has no number, or several. The machine that
// builds has often another version than the product.
func ReleaseVersion(product string) string {
	version, pack := "", ""
	for _, m := range productVersion().FindAllStringSubmatch(
		productArch().ReplaceAllString(product, ""), -1) {
		to := &version
		if m[1] != "" {
			to = &pack
		}
		if *to != "" {
			return ""
		}
		*to = m[2]
	}
	if version == "" || pack == "" {
		return version
	}
	return version + "." + pack
}
