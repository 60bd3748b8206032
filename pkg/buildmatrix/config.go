package buildmatrix

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/rpmver"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// ConfigName is the configuration's file name in a package folder.
const ConfigName = "lpbuild.yaml"

// LockName is the lock's file name in a package folder.
const LockName = "lpbuild.lock"

// ErrNoConfig says that a folder holds no configuration.
var ErrNoConfig = errors.New("no " + ConfigName + " here")

// Config is a live patch package as its maintainer describes it in lpbuild.yaml. Every relative path in it is relative
// to Dir.
type Config struct {
	Dir  string // the package folder
	Path string // the file it was read from

	Name         string // of the RPM package that is made
	Version      string
	Product      string // folder name in the catalogue: "SLE-15-SP5"
	Summary      string
	URL          string
	License      string
	Arch         []ulp.Arch // in the order of the file, each once
	Engine       string     // EngineSystem or EngineBundled
	Entries      ulp.Entries
	Repositories []Repository
	Packages     []Package
	Patches      []Patch
	OBS          OBS
}

// Where the engine comes from that applies the live patches on the customer's machine.
const (
	EngineSystem  = "system"  // from the lpbuild package, which the live patch package requires
	EngineBundled = "bundled" // from the live patch package, which carries it
)

// Repository is an rpm-md repository and the keys it must be signed with.
type Repository struct {
	URL       string   // http(s), file://, a path, or a .repo file
	Debuginfo string   // the same for its debuginfo; "" for none
	Keys      []string // files with OpenPGP keys
	Unsigned  bool     // signatures are not looked at; digests are
	MaxAge    Age      // its metadata must not have been signed longer ago; any time if zero
}

// Package is an RPM package whose released builds get live patches.
type Package struct {
	Name   string
	Builds rpmver.Range // only these; everything if empty
	Since  Age          // only builds younger than this; every age if zero
}

// Patch is one live patch: what it replaces in which library, and the source of the replacements.
type Patch struct {
	Library     string // base name ("libc.so.6") or path inside the package
	Description string // .in template or .dsc file
	Sources     []string
	CFlags      []string
	Builds      rpmver.Range // only for these builds
	Unwinding   ulp.Unwinding
	Clones      string   // why copies of replaced functions need not be replaced; "" for no reason
	Recursion   string   // why replacements may take the addresses of what they replace; "" for no reason
	Overlaps    string   // why other patches may replace the same functions, if they say so, too; "" for no reason
	Test        string   // C program that shows the patch at work; "" for none
	Pos         diag.Pos // of the entry in the configuration
}

// Age is a span of calendar time, as a person says it: "13 months".
type Age struct{ Years, Months, Days int }

// IsZero reports whether the age is unlimited.
func (a Age) IsZero() bool { return a == Age{} }

// Before returns the moment that lies a before now.
func (a Age) Before(now time.Time) time.Time { return now.AddDate(-a.Years, -a.Months, -a.Days) }

// File returns the path of a file that the configuration names.
func (c *Config) File(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.Dir, name)
}

// LoadConfig reads the configuration of the package folder dir. Everything that is wrong with it comes in one
// [diag.List]: unknown and repeated keys, wrong types, values that cannot be, and files that are not there.
func LoadConfig(dir string) (*Config, error) {
	path := filepath.Join(dir, ConfigName)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, &diag.Diagnostic{
			Pos: diag.Pos{File: dir}, Message: folderFault(err), Err: err,
			Hint: "go to a package folder, name one with --dir, or make one with: lpbuild init DIR",
		}
	}
	text, err := regularfile.Read(path, maxConfig)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &diag.Diagnostic{
			Pos: diag.Pos{File: path}, Message: "no configuration in this folder", Err: ErrNoConfig,
			Hint: "go to a package folder, name one with --dir, or make one with: lpbuild init DIR",
		}
	}
	if err != nil {
		return nil, err
	}
	c, err := ParseConfig(path, text)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// folderFault says why a folder is none, given what its name could not be asked about.
func folderFault(err error) string {
	switch {
	case err == nil:
		return "this is no folder"
	case errors.Is(err, os.ErrNotExist):
		return "there is no such folder"
	}
	if cause := errors.Unwrap(err); cause != nil {
		err = cause
	}
	return err.Error()
}

// maxConfig is far beyond any configuration that a person writes, in bytes.
const maxConfig = 1 << 20
