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

// Reasons that callers tell apart. Those about signatures wrap [pgp.ErrBadSignature].
var (
	// ErrChanged says that a repository was changed by its owner while it was being read, twice in a row.
	ErrChanged = errors.New("the repository changed while it was read")
	// ErrIncomplete says that a repository does not have what its metadata name, twice in a row and with the same metadata.
	ErrIncomplete = errors.New("the repository does not have what its metadata name")
	// ErrNotOffered says that no repository has what the configuration asks for.
	ErrNotOffered = errors.New("not in any repository")
	// ErrConflict says that two different builds have the same name, version, release and architecture.
	ErrConflict = errors.New("two different builds have one name")
	// ErrNotStored says that working offline needs something that the store does not hold.
	ErrNotStored = errors.New("not in the store")
)

// Request is what to download.
type Request struct {
	Product      string // folder in the catalogue: "SLE-15-SP5"
	Arch         []string
	Repositories []Source
	Packages     []Package
	Libraries    []string // base names, or paths inside a package, that the patches name

	ReleaseVersion string // what $releasever in .repo files stands for: "15.5"
	CredentialsDir string // with users and passwords that .repo files name; "": zypper's
}

// Source is a repository and what vouches for it.
type Source struct {
	Main      fetch.Location
	Debuginfo *fetch.Location // nil: none
	Keys      *pgp.Keyring    // nil only if Unsigned
	Unsigned  bool
	NotBefore time.Time // its metadata must have been signed (unsigned ones: made) then or later; zero: at any time
}

// Package says which builds of a package are wanted.
type Package struct {
	Name      string
	Builds    rpmver.Range
	NotBefore time.Time // built then or later; zero: of every age
}

// Options is how to download.
type Options struct {
	Dir    string       // the package folder, where catalogue and lock are written
	Lock   string       // the lock's path
	Store  *store.Store // required
	Client *fetch.Client
	Jobs   int // RPMs worked on at once; 0: 4

	Forget     bool // drop the builds that no repository has any more
	AllowOlder bool // accept a repository that is in an older state than the one in the lock

	Progress progress.Func
}
