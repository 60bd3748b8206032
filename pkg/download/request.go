package download

import (
	"errors"
	"time"

	"github.com/lpbuild/lpbuild/pkg/download/fetch"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
	"github.com/lpbuild/lpbuild/pkg/download/store"
	"github.com/lpbuild/lpbuild/pkg/progress"
	"github.com/lpbuild/lpbuild/pkg/rpmver"
)

// Errors that callers distinguish. Those about signatures wrap [pgp.ErrBadSignature].
var (
	// ErrChanged means that a repository changed while it was being read, twice in a row.
	ErrChanged = errors.New("the repository changed while it was read")
	// ErrIncomplete means that a repository lacks a file its metadata list, twice in a row and with
	// the same metadata.
	ErrIncomplete = errors.New("the repository lacks a file that its metadata list")
	// ErrNotOffered means that no repository has what the configuration asks for.
	ErrNotOffered = errors.New("not in any repository")
	// ErrConflict means that two different builds have the same name, version, release and
	// architecture.
	ErrConflict = errors.New("two different builds have one name")
	// ErrNotStored means that an offline run needs something that the store does not have.
	ErrNotStored = errors.New("not in the store")
)

// Request specifies what to download.
type Request struct {
	Product      string // directory in the catalogue: "SLE-15-SP5"
	Arch         []string
	Repositories []Source
	Packages     []Package
	Libraries    []string // base names, or paths inside a package, that the patches name

	ReleaseVersion string // the value of $releasever in .repo files: "15.5"
	// has the users and passwords that .repo files refer to; "" means zypper's
	CredentialsDir string
}

// Source is a repository and the keys that vouch for it.
type Source struct {
	Main      fetch.Location
	Debuginfo *fetch.Location // nil if there is none
	Keys      *pgp.Keyring    // nil only if Unsigned
	Unsigned  bool
	// earliest time its metadata may have been signed (if unsigned: made); zero means any
	NotBefore time.Time
}

// Package selects builds of a package.
type Package struct {
	Name      string
	Builds    rpmver.Range
	NotBefore time.Time // earliest build time; zero means any
}

// Options control how to download.
type Options struct {
	Dir    string       // the package directory, to which catalogue and lock are written
	Lock   string       // the lock's path
	Store  *store.Store // required
	Client *fetch.Client
	Jobs   int // RPMs processed at a time; 0 means 4

	Forget     bool // drop the builds that no repository has any more
	AllowOlder bool // accept a repository in an older state than the one in the lock

	Progress progress.Func
}
