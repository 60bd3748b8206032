package download

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/rpmver"
)

// LockFormat is the version of the lock file that this program writes and reads.
const LockFormat = 1

// maxLock bounds a lock file, in bytes: 40 builds need about 60 KiB.
const maxLock = 32 << 20

// ErrNoLock means that nothing has been downloaded yet.
var ErrNoLock = errors.New("no lock file")

// Lock pins every build that live patches are made for. It holds no secrets: its URLs have no user,
// password or query.
type Lock struct {
	Format       int                `json:"format"`
	Product      string             `json:"product"`
	Repositories []LockedRepository `json:"repositories"`
	Builds       []Build            `json:"builds"`
}

// LockedRepository is the state of a repository when it was read.
type LockedRepository struct {
	URL string `json:"url"`
	// the URL it was read from, if that is another one
	Mirror   string        `json:"mirror,omitempty"`
	Revision string        `json:"revision,omitempty"`
	Repomd   digest.Digest `json:"repomd"`
	Key      string        `json:"key,omitempty"` // fingerprint of the key that signed repomd.xml

	Timestamp time.Time `json:"timestamp,omitzero"` // the latest in repomd.xml
	Signed    time.Time `json:"signed,omitzero"`    // when repomd.xml was signed

	Unsigned bool `json:"unsigned,omitempty"` // nothing vouches for it but the digest above
}

// Build is one released build of a package, which a customer may be running.
type Build struct {
	Name string `json:"name"`
	// name of the source package: "glibc" for glibc-locale-base, too
	Source    string    `json:"source"`
	Epoch     int       `json:"epoch,omitempty"`
	Version   string    `json:"version"`
	Release   string    `json:"release"`
	Arch      string    `json:"arch"`
	Built     time.Time `json:"built"`
	RPM       File      `json:"rpm"`
	Debuginfo *File     `json:"debuginfo,omitempty"`
	// distinguishes builds of one version and release: "epoch2"
	Twin string `json:"twin,omitempty"`
	// the date since which no repository has it: "2026-01-02"
	Gone string `json:"gone,omitempty"`
	// other builds with the very same libraries or, without any, exports
	Also []string `json:"also,omitempty"`
	// empty if no patch names one and only the build's exports count
	Libraries []Library `json:"libraries"`
	Exports   *Exports  `json:"exports,omitempty"`
}

// File is an RPM in a repository.
type File struct {
	URL      string        `json:"url"`
	Size     int64         `json:"size"` // bytes
	Digest   digest.Digest `json:"digest"`
	Key      string        `json:"key,omitempty"` // fingerprint of the key that signed it
	Unsigned bool          `json:"unsigned,omitempty"`
}

// Library is a shared object of a build that patches name.
type Library struct {
	Name string `json:"name"` // as patches name it: "libc.so.6"
	// the processors it is for, "power9" or "x86-64-v3"; "" means all
	Variant string `json:"variant,omitempty"`
	// inside the package, with symbolic links resolved
	Path      string         `json:"path"`
	BuildID   string         `json:"build_id"`            // hexadecimal
	Digest    digest.Digest  `json:"digest"`              // of the file
	Debuginfo *digest.Digest `json:"debuginfo,omitempty"` // of the separate debuginfo
	// file below the package directory, with slashes
	Catalogue string        `json:"catalogue"`
	Pinned    digest.Digest `json:"catalogue_digest"`
	// what the debuginfo says about types and functions; nil if that is not known
	Facts *Facts `json:"facts,omitempty"`
	// why it is not known
	NoFacts string `json:"no_facts,omitempty"`
}

// Facts names the file with the facts that pkg/abi read from a library's debuginfo.
type Facts struct {
	File   string        `json:"file"`
	Digest digest.Digest `json:"digest"`
}

// IsPatched reports whether patches name a library of the build. A build that is not patched is in
// the lock for its exports.
func (b *Build) IsPatched() bool { return len(b.Libraries) > 0 }

// Exports names the file that lists what all shared libraries of a build export.
type Exports struct {
	File   string        `json:"file"`
	Digest digest.Digest `json:"digest"`
}

// EVR returns the build's epoch, version and release.
func (b *Build) EVR() rpmver.EVR {
	return rpmver.EVR{Epoch: b.Epoch, Version: b.Version, Release: b.Release}
}

// NEVRA returns the build's name, version and architecture as RPM writes them.
func (b *Build) NEVRA() string { return b.Name + "-" + b.EVR().String() + "." + b.Arch }

// LibrariesNamed returns the libraries that patches refer to by name: usually one, but several if a
// package has the library once for each kind of processor.
func (b *Build) LibrariesNamed(name string) []*Library {
	var named []*Library
	for i := range b.Libraries {
		if b.Libraries[i].Name == name {
			named = append(named, &b.Libraries[i])
		}
	}
	return named
}

// Gone returns the number of builds that no repository has any more.
func (l *Lock) Gone() int {
	n := 0
	for i := range l.Builds {
		if l.Builds[i].Gone != "" {
			n++
		}
	}
	return n
}

// Patched returns the number of builds with a library that patches name.
func (l *Lock) Patched() int {
	n := 0
	for i := range l.Builds {
		if l.Builds[i].IsPatched() {
			n++
		}
	}
	return n
}

// IsUnsigned reports whether the lock has anything that no key vouches for.
func (l *Lock) IsUnsigned() bool {
	return slices.ContainsFunc(l.Repositories, func(r LockedRepository) bool {
		return r.Unsigned
	}) ||
		slices.ContainsFunc(l.Builds, func(b Build) bool { return b.RPM.Unsigned })
}

// ReadLock reads and checks a lock file. If it does not exist, the error is [ErrNoLock].
func ReadLock(name string) (*Lock, error) {
	data, err := regularfile.Read(name, maxLock)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: run lpbuild download first", name, ErrNoLock)
	}
	if err != nil {
		return nil, err
	}
	l, err := parseLock(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: restore it from version control, or run lpbuild download "+
			"again", name, err)
	}
	return l, nil
}

// parseLock reads a lock. It checks every name that becomes part of a path, so that no later code
// has to.
func parseLock(data []byte) (*Lock, error) {
	if len(data) > maxLock {
		return nil, fmt.Errorf("not a lock: more than %d bytes", maxLock)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var l Lock
	if err := dec.Decode(&l); err != nil {
		return nil, fmt.Errorf("not a lock: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not a lock: data follow its end")
	}
	if l.Format != LockFormat {
		return nil, fmt.Errorf("the lock has format %d, not %d: another version of lpbuild made it",
			l.Format, LockFormat)
	}
	if err := checkElement("product", l.Product); err != nil {
		return nil, err
	}
	for i := range l.Builds {
		if err := l.Builds[i].check(); err != nil {
			return nil, fmt.Errorf("build %d: %w", i+1, err)
		}
	}
	if err := l.checkFiles(); err != nil {
		return nil, err
	}
	return &l, nil
}

// checkFiles rejects a lock that pins one catalogue file with two digests.
func (l *Lock) checkFiles() error {
	known := map[string]digest.Digest{}
	for i := range l.Builds {
		for name, d := range l.Builds[i].files() {
			if first, met := known[name]; met && first != d {
				return fmt.Errorf("build %d: %.200q is pinned with two digests", i+1, name)
			}
			known[name] = d
		}
	}
	return nil
}

func (b *Build) check() error {
	for what, value := range map[string]string{"name": b.Name, "source": b.Source,
		"version": b.Version, "release": b.Release, "arch": b.Arch} {
		if err := checkElement(what, value); err != nil {
			return err
		}
	}
	if b.Epoch < 0 {
		return fmt.Errorf("epoch %d is negative", b.Epoch)
	}
	if b.Twin != "" {
		if err := checkElement("twin", b.Twin); err != nil {
			return err
		}
	}
	if _, err := time.Parse(time.DateOnly, b.Gone); b.Gone != "" && err != nil {
		return fmt.Errorf("gone %.80q is not a date", b.Gone)
	}
	if b.RPM.Digest.IsZero() {
		return errors.New("the RPM has no digest")
	}
	if b.Exports != nil {
		if err := checkLocal("exports", b.Exports.File, ".json"); err != nil {
			return err
		}
		if b.Exports.Digest.IsZero() {
			return errors.New("the list of exports has no digest")
		}
	}
	for _, lib := range b.Libraries {
		if err := lib.check(); err != nil {
			return fmt.Errorf("library %.80q: %w", lib.Name, err)
		}
	}
	return nil
}

// files yields the files of the package directory that a build names: the path below the directory,
// and the digest.
func (b *Build) files() iter.Seq2[string, digest.Digest] {
	return func(yield func(string, digest.Digest) bool) {
		for _, lib := range b.Libraries {
			if !yield(lib.Catalogue, lib.Pinned) ||
				lib.Facts != nil && !yield(lib.Facts.File, lib.Facts.Digest) {
				return
			}
		}
		if b.Exports != nil {
			yield(b.Exports.File, b.Exports.Digest)
		}
	}
}

func (lib *Library) check() error {
	if err := checkElement("name", path.Base(lib.Name)); err != nil {
		return err
	}
	if lib.Variant != "" {
		if err := checkElement("variant", lib.Variant); err != nil {
			return err
		}
	}
	if err := checkLocal("catalogue", lib.Catalogue, ".json"); err != nil {
		return err
	}
	if raw, err := hex.DecodeString(lib.BuildID); err != nil || len(raw) == 0 || len(raw) > 64 {
		return fmt.Errorf("build-id %.80q is not hexadecimal", lib.BuildID)
	}
	if lib.Pinned.IsZero() {
		return errors.New("the catalogue has no digest")
	}
	if lib.Facts != nil {
		if err := checkLocal("facts", lib.Facts.File, factsSuffix); err != nil {
			return err
		}
		if lib.Facts.Digest.IsZero() {
			return errors.New("the facts have no digest")
		}
	}
	return nil
}

// checkElement rejects strings that cannot be, or must not be, one element of a path.
func checkElement(what, s string) error {
	if s == "" || len(s) > 200 || s[0] == '.' || s[0] == '-' ||
		strings.ContainsFunc(s, func(r rune) bool {
			return r <= ' ' || r >= 0x7f || strings.ContainsRune(`/\:*?"<>|'$&;()[]{}!`+"`", r)
		}) {
		return fmt.Errorf("%s %.80q is not a plain name", what, s)
	}
	return nil
}

func checkLocal(what, s, suffix string) error {
	if s == "" || len(s) > 1024 || strings.ContainsAny(s, "\\\x00") || !filepath.IsLocal(s) ||
		path.Clean(s) != s ||
		!strings.HasPrefix(s, CatalogueDir+"/") || !strings.HasSuffix(s, suffix) {
		return fmt.Errorf("%s %.80q is not a path in the catalogue", what, s)
	}
	return nil
}

// sort puts everything into the order in which a lock is written.
func (l *Lock) sort() {
	slices.SortFunc(l.Builds, func(a, b Build) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		if c := a.EVR().Compare(b.EVR()); c != 0 {
			return c
		}
		return cmp.Or(strings.Compare(a.Arch, b.Arch), a.Built.Compare(b.Built),
			strings.Compare(a.RPM.Digest.Hex, b.RPM.Digest.Hex))
	})
	for i := range l.Builds {
		slices.SortFunc(l.Builds[i].Libraries, func(a, b Library) int {
			return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Variant, b.Variant))
		})
		slices.Sort(l.Builds[i].Also)
	}
}

// Bytes returns the encoded lock: indented, sorted, and the same for the same content.
func (l *Lock) Bytes() ([]byte, error) {
	l.sort()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(l); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// files returns the files of the package directory that a lock names: the path below the directory,
// and the digest.
func (l *Lock) files() map[string]digest.Digest {
	all := map[string]digest.Digest{}
	for i := range l.Builds {
		maps.Insert(all, l.Builds[i].files())
	}
	return all
}

// Files returns the catalogue files that the lock names, below the package directory, sorted.
func (l *Lock) Files() []string { return sortedKeys(l.files()) }

// CheckFiles returns an error unless the catalogue in the package directory dir is the one that the
// lock pins.
func (l *Lock) CheckFiles(dir string) error {
	files := l.files()
	for _, name := range sortedKeys(files) {
		d, err := digest.OfFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return fmt.Errorf("the catalogue is incomplete: %w: run lpbuild download", err)
		}
		if d != files[name] {
			return fmt.Errorf("%s: %w: its content is not what the lock pins: run lpbuild download",
				name, digest.ErrMismatch)
		}
	}
	return nil
}

// has reports whether the lock has the build, under its own name or as another one with the very
// same libraries.
func (l *Lock) has(b *Build) bool {
	name, content := b.NEVRA(), contentKey(b)
	for i := range l.Builds {
		other := &l.Builds[i]
		if other.NEVRA() == name && sameLibraries(other, b) {
			return true
		}
		if contentKey(other) != content {
			continue
		}
		if other.NEVRA() != name && !slices.Contains(other.Also, name) {
			other.Also = append(other.Also, name)
		}
		return true
	}
	return false
}
