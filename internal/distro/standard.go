package distro

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// firstBuilds are real versions and releases of SUSE Linux Enterprise 15 SP5 and SP6, with the
// number of days since they were released here. The patterns of many scripts missed the short
// release of the first one.
var firstBuilds = []struct {
	version, release string
	days             int
}{
	{"2.31", "150300.9.12.1", 700},
	{"2.31", "150300.26.5", 540},
	{"2.31", "150300.63.1", 340},
	{"2.38", "150600.12.1", 480},
	{"2.38", "150600.14.32.1", 330},
}

// StandardBuilds returns n builds of glibc for x86_64, 0 <= n: first the three of 2.31 and two of
// 2.38 that are common in tests, then generated ones, each younger than the one before, some with
// the release of an SLFO product ("2.40-slfo.1.1_3.1"). They differ in Variant and in the
// compression of the payload. Their build times lie in the last two years, counted from the
// beginning of this month, so that the builds and the cache stay the same for a while.
func StandardBuilds(n int) []Build {
	return standardBuilds(n, time.Now())
}

func standardBuilds(n int, now time.Time) []Build {
	month := time.Date(now.UTC().Year(), now.UTC().Month(), 1, 12, 0, 0, 0, time.UTC)
	payloads := []string{"xz", "zstd", "gzip", "bzip2", "lzma"}
	builds := make([]Build, 0, max(0, n))
	for i := range n {
		b := Build{Name: "glibc", Arch: "x86_64", Variant: i % 1000,
			Compression: payloads[i%len(payloads)]}
		days := 320 * 5 / max(i, 5)
		k := (i - len(firstBuilds)) / 3
		switch {
		case i < len(firstBuilds):
			b.Version, b.Release, days = firstBuilds[i].version, firstBuilds[i].release,
				firstBuilds[i].days
		case i%3 == 2:
			b.Version, b.Release = "2.31", fmt.Sprintf("150300.%d.1", 66+3*k)
		case i%3 == 0:
			b.Version, b.Release = "2.38", fmt.Sprintf("150600.14.%d.1", 35+3*k)
		default:
			b.Version, b.Release = "2.40", fmt.Sprintf("slfo.1.1_%d.1", 1+k)
		}
		b.CET = b.minor() >= 38
		b.BuildTime = month.AddDate(0, 0, -days).Add(time.Duration(i) * time.Minute)
		builds = append(builds, b)
	}
	return builds
}

// bystanders returns packages that a repository has besides the wanted ones: another package, glibc
// for i686, and a noarch package whose name begins with glibc.
func bystanders() []Build {
	return []Build{
		{Name: "hello", Version: "2.12", Release: "150300.1.5", Compression: "gzip"},
		{Name: "glibc", Version: "2.31", Release: "150300.63.1", Arch: "i686", Compression: "xz"},
		{Name: "glibc-i18ndata", Version: "2.31", Release: "150300.63.1", Arch: "noarch"},
	}
}

// StandardOptions configure the repositories of [StandardRepository]. The zero value suits most
// tests.
type StandardOptions struct {
	Builds int      // number of StandardBuilds; 0 means 5
	Extra  []Build  // more builds, of any package
	RPMs   []string // files to put beside them in DIR/update
	Arches []string // architecture of the standard builds; "" means x86_64

	Key          *Key       // signs metadata and RPMs; nil means a cached key with KeyOptions
	KeyOptions   KeyOptions // of the cached key
	Unsigned     bool       // sign neither the metadata nor the RPMs
	UnsignedRPMs bool       // sign only the metadata

	Compression  string // of the metadata, as in RepositoryOptions
	NoDebuginfo  bool   // no update_debug
	NoBystanders bool   // nothing but the builds
}

// Repository is a distributor's pair of repositories.
type Repository struct {
	Dir      string // has the packages: DIR/update
	DebugDir string // has their debuginfo: DIR/update_debug; "" if there is none
	Key      *Key   // nil if unsigned
	// the requested builds, with defaults filled in: the standard builds, then the extra ones
	Builds []Build
}

// StandardRepository makes dir/update and dir/update_debug of cached builds, signed with version 4
// signatures unless the options say otherwise, and dir/key.asc, the public key. Unless a key is
// given, the secret key is in dir/key, and is kept if dir is made again.
func StandardRepository(ctx context.Context, dir string, o StandardOptions) (*Repository, error) {
	builds, err := normalBuilds(o.builds())
	if err != nil {
		return nil, err
	}
	all := slices.Clone(builds)
	if !o.NoBystanders {
		all = append(all, bystanders()...)
	}
	rpms, debuginfo, err := cachedRPMs(ctx, all)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	r := &Repository{Dir: filepath.Join(dir, "update"), Builds: builds}
	if r.Key, err = o.key(ctx, dir); err != nil {
		return nil, err
	}
	ro := RepositoryOptions{Key: r.Key, SignRPMs: r.Key != nil && !o.UnsignedRPMs,
		Compression: o.Compression}
	if err := MakeRepository(ctx, r.Dir, append(rpms, o.RPMs...), ro); err != nil {
		return nil, err
	}
	if o.NoDebuginfo {
		return r, nil
	}
	r.DebugDir = filepath.Join(dir, "update_debug")
	if err := MakeRepository(ctx, r.DebugDir, debuginfo, ro); err != nil {
		return nil, err
	}
	return r, nil
}

func (o StandardOptions) builds() []Build {
	var builds []Build
	arches := o.Arches
	if len(arches) == 0 {
		arches = []string{"x86_64"}
	}
	for _, arch := range arches {
		for _, b := range StandardBuilds(cmp.Or(o.Builds, 5)) {
			b.Arch = arch
			b.CET = b.CET && arch == "x86_64"
			builds = append(builds, b)
		}
	}
	return append(builds, o.Extra...)
}

// key returns the signing key, or nil, and publishes it as dir/key.asc.
func (o StandardOptions) key(ctx context.Context, dir string) (*Key, error) {
	if o.Unsigned {
		return nil, nil
	}
	k, home := o.Key, filepath.Join(dir, "key")
	if k == nil {
		var err error
		if k, err = openKey(home); errors.Is(err, os.ErrNotExist) {
			k, err = CachedKey(ctx, home, o.KeyOptions, 0)
		}
		if err != nil {
			return nil, err
		}
	}
	return k, os.WriteFile(filepath.Join(dir, "key.asc"), k.Public(), 0o644)
}
