package config

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/rpmver"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// FileName is the configuration's file name in a package directory.
const FileName = "lpbuild.yaml"

// LockName is the lock's file name in a package directory.
const LockName = "lpbuild.lock"

// ErrNoConfig means that a directory holds no configuration.
var ErrNoConfig = errors.New("no " + FileName + " here")

// Config is a live patch package as its maintainer describes it in lpbuild.yaml. Every relative
// path in it is relative to Dir.
//
// This file and obs.go are also the reference of lpbuild.yaml: [Keys] reads the names of the
// keys, and what is allowed there, from the tags, and the description of each from the comment
// above the field. So these comments are written for a reader of lpbuild.yaml.
type Config struct {
	Dir  string // the package directory
	Path string // the file it was read from

	// The name of the RPM package that is made. Containers are installed below
	// /usr/lib64/NAME/VERSION.
	Name string `key:"name" required:"true" example:"glibc-livepatches"`

	// The version of the RPM package. Write it in quotes: 0.10 without quotes is a number, and the
	// same as 0.1. Letters, digits and . _ + ~ ^ are allowed.
	Version string `key:"version" required:"true" example:"\"0.4\""`

	// The name of the product that the builds belong to. It is the name of a directory in the
	// catalogue. Its numbers are the value of $releasever in .repo files: 15.5 for SLE-15-SP5.
	Product string `key:"product" required:"true" example:"SLE-15-SP5"`

	// One line that says what the package is. The default names the packages that are patched.
	Summary string `key:"summary" example:"Live patches for the C library"`

	// The home page of the package, for the spec file. The default is that of lpbuild.
	URL string `key:"url" example:"https://example.com/livepatches"`

	// The license of the package that is made, as RPM writes it. A live patch has code of the
	// library in it, so the library's license applies as well.
	License string `key:"license" required:"true" example:"LGPL-2.1-or-later"`

	// The architectures to build for. A cross compiler is used where the machine has another one.
	Arch []symtab.Arch `key:"arch" required:"true" values:"x86_64 ppc64le aarch64" example:"[x86_64, ppc64le]"`

	// Where the engine comes from that applies the live patches on the customer's machine. With
	// "system", the live patch package requires the package lpbuild-engine. With "bundled", it
	// carries the engine.
	Engine string `key:"engine" values:"system bundled" default:"system" example:"bundled"`

	// The functions that may be replaced. With "nops", these are functions that have NOPs at their
	// entries. With "any", functions without NOPs are allowed as well, if a jump provably can be
	// put at their entry. Only the native engine can do that, on x86_64.
	Entries symtab.Entries `key:"entries" values:"nops any" default:"nops" example:"any"`

	// The rpm-md repositories that have the builds.
	Repositories []Repository `key:"repositories" required:"true"`

	// The RPM packages whose released builds get live patches.
	Packages []Package `key:"packages" required:"true"`

	// The live patches. For each one, and each build that it is for, one container is built.
	Patches []Patch `key:"patches" required:"true"`

	// Settings for the Open Build Service.
	OBS OBS `key:"obs"`
}

// Where the engine comes from that applies the live patches on the customer's machine.
const (
	EngineSystem  = "system"  // from the lpbuild package, which the live patch package requires
	EngineBundled = "bundled" // from the live patch package, which carries it
)

// Repository is an rpm-md repository and the keys it must be signed with.
type Repository struct {
	// The address of the repository: an http, https or file URL, the path of a directory, or the
	// path of a .repo file. A URL with a password or a token does not belong here, because the file
	// becomes part of the source package: put such a URL into a .repo file outside of the package
	// directory.
	URL string `key:"url" required:"true" example:"https://example.com/15-SP5/x86_64/update"`

	// The address of the repository that has the debuginfo packages, in the same forms.
	Debuginfo string `key:"debuginfo" example:"https://example.com/15-SP5/x86_64/update_debug"`

	// Files with OpenPGP keys, in the package directory. The repository, and each RPM that is taken
	// from it, must be signed by one of these keys. Either this or "unsigned: true" is required.
	Keys []string `key:"keys" file:"true" example:"[keys/vendor.asc]"`

	// Accept a repository without a signature. Digests are still checked, but nothing vouches for
	// the metadata that they come from.
	Unsigned bool `key:"unsigned" default:"false" example:"true"`

	// The greatest age of the signature of the repository's metadata. Older metadata is refused,
	// because somebody may be holding back newer builds. By default, any age is accepted.
	MaxAge Age `key:"max-age" example:"30 days"`
}

// Package is an RPM package whose released builds get live patches.
type Package struct {
	// The name of the RPM package.
	Name string `key:"name" required:"true" example:"glibc"`

	// The builds that get live patches, as a range of versions. The default is all builds.
	Builds rpmver.Range `key:"builds" example:"\">= 2.31-150300.9, < 2.38\""`

	// The greatest age of a build, by the time at which its RPM was built. Older builds are not
	// downloaded. By default, any age is accepted.
	Since Age `key:"since" example:"13 months"`
}

// Patch is one live patch: what it replaces in which library, and the source of the replacements.
type Patch struct {
	// The library that is patched: its base name, or its whole path inside the package. A base name
	// stands for all variants of the library (glibc-hwcaps/x86-64-v3, power9).
	Library string `key:"library" required:"true" example:"libc.so.6"`

	// The description: a template (.in) with placeholders, or a description (.dsc).
	Description string `key:"description" required:"true" file:"true" example:"libc_livepatch1.in"`

	// The source files of the replacement functions. They are compiled and linked together.
	Sources []string `key:"sources" required:"true" file:"true" example:"[libc_livepatch1.c]"`

	// Flags for the compiler. Only flags that are known neither to run programs nor to write files
	// are accepted, and no path outside of the package directory but those below /usr.
	CFlags []string `key:"cflags" example:"[-g3, -DNDEBUG]"`

	// The builds of the package that this patch is for. The default is all that the package's range
	// has.
	Builds rpmver.Range `key:"builds" example:"\"< 2.38\""`

	// The kind of unwinding that may pass through the replacement functions. With "any", functions
	// that handle exceptions or cancellation are left to libpulp, because the unwinder does not
	// find code that the native engine has loaded. With "none", you say that neither an exception
	// nor the cancellation of a thread passes through the replacements.
	Unwinding ulp.Unwinding `key:"unwinding" values:"any none" default:"any" example:"none"`

	// The reason why copies that the compiler made of a replaced function (.isra, .constprop,
	// .part) need not be replaced. Without a reason, each copy must be replaced as well.
	Clones string `key:"clones>accept" example:"{accept: \"the copies do not reach the loop\"}"`

	// The reason why a replacement may take the address of the function that it replaces, as live
	// patches for libpulp do in order to skip the detour. Without a reason, this is refused.
	Recursion string `key:"recursion>accept" example:"{accept: \"it skips the detour\"}"`

	// The reason why other patches may replace the same functions. Each of the patches must give
	// one, since a process runs the replacement that was applied last.
	Overlaps string `key:"overlaps>accept" example:"{accept: \"both replace version() by the same code\"}"`

	// A C program that shows the live patch at work. It becomes part of the source package.
	Test string `key:"test" file:"true" example:"test.c"`

	Pos diag.Pos // of the entry in the configuration
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

// Load reads the configuration of the package directory dir. Everything that is wrong with it
// comes in one [diag.List]: unknown and repeated keys, wrong types, values that cannot be, and
// files that are not there.
func Load(dir string) (*Config, error) {
	path := filepath.Join(dir, FileName)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, &diag.Diagnostic{
			Pos: diag.Pos{File: dir}, Message: dirFault(err), Err: err,
			Hint: "go to a package directory, name one with --dir, or make one with: lpbuild " +
				"init DIR",
		}
	}
	text, err := regularfile.Read(path, MaxConfig)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &diag.Diagnostic{
			Pos: diag.Pos{File: path}, Message: "no configuration in this directory",
			Err: ErrNoConfig,
			Hint: "go to a package directory, name one with --dir, or make one with: lpbuild " +
				"init DIR",
		}
	}
	if err != nil {
		return nil, err
	}
	c, err := Parse(path, text)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// dirFault returns why a directory is none, given what its name could not be asked about.
func dirFault(err error) string {
	switch {
	case err == nil:
		return "this is not a directory"
	case errors.Is(err, os.ErrNotExist):
		return "there is no such directory"
	}
	if cause := errors.Unwrap(err); cause != nil {
		err = cause
	}
	return err.Error()
}

// MaxConfig is far beyond any configuration that a person writes, in bytes.
const MaxConfig = 1 << 20
