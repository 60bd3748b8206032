package buildmatrix

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/atomicfile"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// objectsDir is the folder below the build folder where compiled but not yet packed shared objects are kept.
const objectsDir = ".objects"

// object is a compiled live patch that is not packed for any build yet.
type object struct {
	digest    string // of its bytes
	container *ulp.Container
}

// objects compiles one patch for one architecture: once, or once per group of builds that gives the same code.
type objects struct {
	dir      string // build/.objects, as seen from here
	config   *Config
	patch    *Patch
	arch     ulp.Arch
	compiler *compiler
	manifest manifest
	name     string // of the manifest file
	loaded   map[string]*object
	changed  bool
	probed   []byte // what the preprocessor said, if this run asked it
}

// manifest is what is known from earlier runs, so that the compiler need not be asked again. It holds as long as every
// file that the compiler read is unchanged. As with every compiler cache of this kind, a new header that would be found
// before one that was read goes unnoticed; lpbuild clean helps.
type manifest struct {
	Files    map[string]digest.Digest `json:"files"`     // that compiler and linker read
	PerBuild bool                     `json:"per_build"` // the source asks for the build
	Objects  map[string]string        `json:"objects"`   // macros that differ between builds → object
	Texts    map[string]string        `json:"texts"`     // hash of preprocessed source → object
}

func newManifest() manifest {
	return manifest{Files: map[string]digest.Digest{}, Objects: map[string]string{}, Texts: map[string]string{}}
}

func newObjects(buildDir string, c *Config, p *Patch, arch ulp.Arch, cc *compiler) (*objects, error) {
	o := &objects{
		dir: filepath.Join(buildDir, objectsDir), config: c, patch: p, arch: arch, compiler: cc, loaded: map[string]*object{},
	}
	if err := writeHeader(filepath.Join(o.includeDir(), "features.h"), libcHeader); err != nil {
		return nil, err
	}
	o.name = filepath.Join(o.dir, o.inputKey()+".json")
	o.load()
	return o, nil
}

func writeHeader(name, text string) error {
	if former, err := os.ReadFile(name); err == nil && string(former) == text {
		return nil
	}
	return atomicfile.Write(name, []byte(text), 0o644)
}

// includeDir holds the headers that stand before the system's in builds of glibc.
func (o *objects) includeDir() string { return filepath.Join(o.dir, "include") }

// The compiler runs in the package folder and is given no path of this machine.
var (
	relObjects = filepath.Join(BuildDir, objectsDir)
	relInclude = filepath.Join(relObjects, "include")
)

// inputKey names everything that is known before the compiler has read its files.
func (o *objects) inputKey() string {
	return hashOf(objectsVersion, o.compiler.identity, string(o.arch), strings.Join(o.compiler.flags, "\x00"),
		strings.Join(o.patch.CFlags, "\x00"), strings.Join(o.patch.Sources, "\x00"), libcHeader)
}

// objectsVersion changes when the same sources are compiled in another way than before.
const objectsVersion = "2"

// load reads the manifest of an earlier run and forgets it if any file has changed since.
func (o *objects) load() {
	o.manifest = newManifest()
	var m manifest
	data, err := readBounded(o.name, maxReport)
	if err != nil || json.Unmarshal(data, &m) != nil || len(m.Files) == 0 || m.Objects == nil || m.Texts == nil {
		return
	}
	for name, want := range m.Files {
		if d, err := digest.OfFile(o.path(name)); err != nil || d != want {
			return
		}
	}
	o.manifest = m
}

func (o *objects) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(o.config.Dir, name)
}

// save writes the manifest if this run learned something.
func (o *objects) save() error {
	if !o.changed {
		return nil
	}
	data, err := json.MarshalIndent(&o.manifest, "", " ")
	if err != nil {
		return err
	}
	return atomicfile.Write(o.name, data, 0o644)
}

// forBuild returns the compiled patch for a build. Calls come one after the other.
func (o *objects) forBuild(ctx context.Context, b *download.Build) (*object, error) {
	macros := versionMacros(b)
	if len(o.manifest.Files) == 0 {
		if err := o.probe(ctx, b, macros); err != nil {
			return nil, err
		}
	}
	group := ""
	if o.manifest.PerBuild {
		group = strings.Join(macros, " ")
	}
	if obj, err := o.open(o.manifest.Objects[group]); err == nil {
		return obj, nil
	}
	text, err := o.preprocess(ctx, b, macros)
	if err != nil {
		return nil, err
	}
	obj, err := o.open(o.manifest.Texts[text])
	if err != nil {
		if obj, err = o.compile(ctx, b, macros); err != nil {
			return nil, err
		}
	}
	o.manifest.Objects[group], o.manifest.Texts[text], o.changed = obj.digest, obj.digest, true
	return obj, nil
}

// flags are those of the patch for a build, without what is done and to which files.
func (o *objects) flags(b *download.Build, macros []string) []string {
	flags := slices.Concat(o.compiler.baseFlags(), macros, o.patch.CFlags)
	if b.Name == "glibc" {
		flags = append(flags, "-isystem", relInclude)
	}
	return flags
}

// probe finds out what the source reads and whether it asks for the build.
func (o *objects) probe(ctx context.Context, b *download.Build, macros []string) error {
	text, err := o.compiler.run(ctx, slices.Concat(o.flags(b, macros), []string{"-E", "-dU"}, o.patch.Sources)...)
	if err != nil {
		return err
	}
	o.manifest, o.probed = newManifest(), text
	o.manifest.PerBuild = asksForBuild(text)
	return o.addFiles(append(includedFiles(text), o.patch.Sources...))
}

// addFiles notes what the objects depend on.
func (o *objects) addFiles(names []string) error {
	for _, name := range names {
		if _, known := o.manifest.Files[name]; known {
			continue
		}
		d, err := digest.OfFile(o.path(name))
		if err != nil {
			return fmt.Errorf("a file that the compiler read: %w", err)
		}
		o.manifest.Files[name] = d
	}
	o.changed = true
	return nil
}

// preprocess returns the hash of the preprocessed source for a build: whatever the macros, equal text compiles to equal
// code.
func (o *objects) preprocess(ctx context.Context, b *download.Build, macros []string) (string, error) {
	text := o.probed
	if text == nil || o.manifest.PerBuild {
		var err error
		if text, err = o.compiler.run(ctx, slices.Concat(o.flags(b, macros), []string{"-E"}, o.patch.Sources)...); err != nil {
			return "", err
		}
		if err := o.addFiles(includedFiles(text)); err != nil {
			return "", err
		}
	}
	return hashOf(string(text)), nil
}

// open returns the object of that digest, if it is there and whole.
func (o *objects) open(name string) (*object, error) {
	if obj, ok := o.loaded[name]; ok {
		return obj, nil
	}
	if name == "" {
		return nil, os.ErrNotExist
	}
	image, err := readBounded(filepath.Join(o.dir, name+".so"), maxObject)
	if err != nil {
		return nil, err
	}
	if digest.OfBytes(image).Hex != name {
		return nil, digest.ErrMismatch
	}
	c, err := ulp.ParseContainer(image)
	if err != nil {
		return nil, err
	}
	o.loaded[name] = &object{name, c}
	return o.loaded[name], nil
}

// maxObject bounds a compiled live patch, in bytes.
const maxObject = 1 << 30

// compile compiles and links, and notes what the linker read: start files, libraries, version scripts.
func (o *objects) compile(ctx context.Context, b *download.Build, macros []string) (*object, error) {
	tmp, err := os.MkdirTemp(o.dir, tempPrefix)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	rel := filepath.Join(relObjects, filepath.Base(tmp))
	args := []string{"-Wl,--dependency-file=" + filepath.Join(rel, "linked"), "-o", filepath.Join(rel, "container.so")}
	if _, err := o.compiler.run(ctx, slices.Concat(o.flags(b, macros), args, o.patch.Sources)...); err != nil {
		return nil, err
	}
	linked, err := os.ReadFile(filepath.Join(tmp, "linked"))
	if err != nil {
		return nil, err
	}
	if err := o.addFiles(o.linkedFiles(linked)); err != nil {
		return nil, err
	}
	d, err := digest.OfFile(filepath.Join(tmp, "container.so"))
	if err != nil {
		return nil, err
	}
	if err := os.Rename(filepath.Join(tmp, "container.so"), filepath.Join(o.dir, d.Hex+".so")); err != nil {
		return nil, err
	}
	return o.open(d.Hex)
}

// tempPrefix begins the names of folders in which a compiler works.
const tempPrefix = ".compile-"

// linkedFiles returns the files in the first rule of a dependency file as the linker writes it, without those that were
// only there for the moment: "target: \", then a file per line. The linker escapes nothing.
func (o *objects) linkedFiles(rule []byte) []string {
	var names []string
	first := true
	for line := range strings.Lines(string(rule)) {
		name := strings.TrimSpace(strings.TrimSuffix(strings.TrimRight(line, "\n"), "\\"))
		if first || name == "" {
			if !first {
				break
			}
			first = false
			continue
		}
		if _, err := os.Stat(o.path(name)); err == nil {
			names = append(names, name)
		}
	}
	return names
}

// hashOf returns a hash of parts, none of which can run into the next.
func hashOf(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "%d:%s", len(p), p)
	}
	return digest.OfBytes([]byte(b.String())).Hex
}
