package compile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/lpbuild/lpbuild/internal/atomicfile"
	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Dir is the directory below the build directory where compiled but not yet packed shared objects
// are kept.
const Dir = ".objects"

// The compiler runs in the package directory and is given no path of this machine.
var (
	relObjects = filepath.Join(config.BuildDir, Dir)
	relInclude = filepath.Join(relObjects, "include")
)

// Object is a compiled live patch that is not packed for any build yet.
type Object struct {
	Digest    string // of its bytes
	Container *ulp.Container
	Warnings  string   // of the compiler that made it
	Originals []string // pointers to former code that the container must define
}

// Objects compiles one patch for one architecture: once, or once per group of builds that gives the
// same code.
type Objects struct {
	dir      string // build/.objects, as seen from here
	root     string // the package directory, as seen from here
	patch    *config.Patch
	pkg      []string  // macros of the package that is made: see packageMacros
	compiler *Compiler // nil: nothing is compiled, only what is there is used
	manifest manifest
	name     string // of the manifest file
	loaded   map[string]*Object
	failed   map[string]error // by group of builds
	changed  bool
	mu       sync.Mutex // for calls
	probed   []byte     // what the preprocessor said, if this run asked it
}

// Open returns what earlier runs compiled. If the compiler is not nil, what another one made
// does not count.
func Open(buildDir string, c *config.Config, p *config.Patch, arch symtab.Arch,
	cc *Compiler) (*Objects, error) {
	o := &Objects{
		dir: filepath.Join(buildDir, Dir), root: c.Dir, patch: p, pkg: packageMacros(c),
		compiler: cc,
		loaded:   map[string]*Object{}, failed: map[string]error{},
	}
	o.name = filepath.Join(o.dir, settingsKey(p, arch)+".json")
	if cc != nil {
		if err := writeHeader(filepath.Join(o.dir, "include", "features.h"),
			libcHeader); err != nil {
			return nil, err
		}
	}
	o.manifest = readManifest(o.name, o.root)
	if cc != nil && o.manifest.Compiler != cc.identity {
		o.manifest = newManifest()
	}
	return o, nil
}

func writeHeader(name, text string) error {
	if former, err := regularfile.Read(name, int64(len(text))); err == nil &&
		string(former) == text {
		return nil
	}
	return atomicfile.Write(name, []byte(text), 0o644)
}

// settingsKey names everything that is known before a compiler has read its files.
func settingsKey(p *config.Patch, arch symtab.Arch) string {
	return digest.OfStrings(objectsVersion, string(arch),
		strings.Join(append(commonFlags, cErrors...), "\x00"), fmt.Sprint(patchableEntries[arch]),
		strings.Join(p.CFlags, "\x00"), strings.Join(p.Sources, "\x00"), libcHeader)
}

// objectsVersion changes when the same sources are compiled in another way than before.
const objectsVersion = "7"

// Save writes the manifest if this run learned something.
func (o *Objects) Save() error {
	if !o.changed {
		return nil
	}
	return o.manifest.write(o.name)
}

// Inputs returns the files of the package that were read.
func (o *Objects) Inputs() []string { return o.manifest.inputs() }

// Known returns the object for a build if no compiler is needed for that.
func (o *Objects) Known(b *download.Build) (*Object, error) {
	return o.open(o.manifest.Objects[o.manifest.group(o.macros(b))])
}

// ForBuild returns the compiled patch for a build. Calls come one after the other. What fails once
// is not tried again for builds that give the compiler the same text: the error is the same.
func (o *Objects) ForBuild(ctx context.Context, b *download.Build) (*Object, error) {
	if err, tried := o.failed[""]; tried {
		return nil, err
	}
	if o.manifest.isEmpty() {
		if err := o.probe(ctx, b); err != nil {
			return nil, err
		}
	}
	group := o.manifest.group(o.macros(b))
	if err, tried := o.failed[group]; tried {
		return nil, err
	}
	if obj, err := o.Known(b); err == nil {
		return obj, nil
	}
	obj, err := o.make(ctx, b, group)
	if err != nil && ctx.Err() == nil {
		o.failed[group] = err
	}
	return obj, err
}

// make compiles for a build, unless another one has the same text.
func (o *Objects) make(ctx context.Context, b *download.Build, group string) (*Object, error) {
	text, err := o.preprocess(ctx, b)
	if err != nil {
		return nil, err
	}
	hash := digest.OfStrings(string(text))
	if err, tried := o.failed[hash]; tried {
		return nil, err
	}
	obj, err := o.open(o.manifest.Texts[hash])
	if err != nil {
		if obj, err = o.compile(ctx, b, text); err != nil {
			if ctx.Err() == nil {
				o.failed[hash] = err
			}
			return nil, err
		}
	}
	o.manifest.Objects[group], o.manifest.Texts[hash], o.changed = obj.Digest, obj.Digest, true
	return obj, nil
}

// flags are those of the patch for a build, without what is done and to which files.
func (o *Objects) flags(b *download.Build) []string {
	flags := slices.Concat(o.compiler.baseFlags(), o.warningFlags(), o.macros(b), o.patch.CFlags)
	if isLibc(b) {
		flags = append(flags, "-isystem", relInclude)
	}
	return flags
}

// macros returns the macros through which a source can ask for the build and for the package that
// is made, as compiler flags.
func (o *Objects) macros(b *download.Build) []string { return append(versionMacros(b), o.pkg...) }

// cErrors are warnings of C compilers about code that does not do what it says: a function without
// a prototype returns an int, so that half of a pointer is lost. GCC 14 takes them for errors, too.
// "cflags" can take that back (-Wno-error=int-conversion).
var cErrors = []string{
	"-Werror=implicit-function-declaration", "-Werror=implicit-int", "-Werror=int-conversion",
	"-Werror=incompatible-pointer-types", "-Werror=return-type",
}

// warningFlags are cErrors where C is compiled: compilers of other languages warn about some of
// them.
func (o *Objects) warningFlags() []string {
	if slices.ContainsFunc(o.patch.Sources, func(name string) bool {
		return filepath.Ext(name) == ".c"
	}) {
		return cErrors
	}
	return nil
}

// probe finds out what the source reads and whether it asks for the build. If
// preprocessing fails before the source asked for the build, it fails for every build.
func (o *Objects) probe(ctx context.Context, b *download.Build) error {
	flags := o.flags(b)
	text, err := o.compiler.run(ctx, slices.Concat(flags, []string{"-E", "-dU"},
		o.patch.Sources)...)
	if err != nil {
		if ctx.Err() == nil && !asksForBuild(text) && !o.mentionsBuild(text) {
			o.failed[""] = err
		}
		return err
	}
	s, err := askCompiler(ctx, o.compiler, flags)
	if err != nil {
		return err
	}
	m := newManifest()
	m.Compiler, m.Survey, m.PerBuild = o.compiler.identity, s, asksForBuild(text)
	o.manifest, o.probed = m, text
	if err := o.addFiles(append(includedFiles(text), o.patch.Sources...), text); err != nil {
		o.manifest = newManifest()
		if !m.PerBuild { // otherwise the next build may do without that file
			o.failed[""] = err
		}
		return err
	}
	return nil
}

// mentionsBuild reports whether a file of the package that was read has a word of the macros of a
// build: a preprocessor that gives up does not print the last ones that it was asked for.
func (o *Objects) mentionsBuild(preprocessed []byte) bool {
	return slices.ContainsFunc(append(includedFiles(preprocessed), o.patch.Sources...),
		func(name string) bool {
			if !filepath.IsLocal(name) {
				return false
			}
			text, err := regularfile.Read(at(o.root, name), MaxObject)
			return err == nil && (bytes.Contains(text, []byte("LPBUILD_")) ||
				bytes.Contains(text, []byte("__GLIBC")))
		})
}

// addFiles notes what the objects depend on: files that were read, and those that would have been
// if they were there. text is the preprocessed source, by which the place is found where a file is
// asked for that must not be.
func (o *Objects) addFiles(names []string, text []byte) error {
	var fresh []string
	for _, name := range names {
		if _, known := o.manifest.Files[name]; known {
			continue
		}
		if why := outsideReason(name, o.manifest.Survey.Own); why != "" {
			return outside(o.root, name, why, text)
		}
		if filepath.IsLocal(name) && !config.StaysIn(o.root, name) {
			return outside(o.root, name, "is outside of the package directory, by a symbolic link",
				text)
		}
		d, err := digest.OfFile(at(o.root, name))
		if err != nil {
			return fmt.Errorf("a file that the compiler read: %w", err)
		}
		o.manifest.Files[name] = d
		fresh = append(fresh, name)
	}
	o.addAbsent(absentFiles(o.root, fresh, o.manifest.Survey.Search))
	o.changed = true
	return nil
}

func (o *Objects) addAbsent(names []string) {
	o.manifest.Absent = append(o.manifest.Absent, names...)
	slices.Sort(o.manifest.Absent)
	o.manifest.Absent = slices.Compact(o.manifest.Absent)
}

// preprocess returns the preprocessed source for a build: whatever the macros, equal text compiles
// to equal code.
func (o *Objects) preprocess(ctx context.Context, b *download.Build) ([]byte, error) {
	if o.probed != nil && !o.manifest.PerBuild {
		return o.probed, nil
	}
	text, err := o.compiler.run(ctx, slices.Concat(o.flags(b), []string{"-E"}, o.patch.Sources)...)
	if err != nil {
		return nil, err
	}
	return text, o.addFiles(includedFiles(text), text)
}

// open returns the object of that digest, if it is there and whole.
func (o *Objects) open(name string) (*Object, error) {
	if obj, ok := o.loaded[name]; ok {
		return obj, nil
	}
	if name == "" {
		return nil, os.ErrNotExist
	}
	image, err := regularfile.Read(filepath.Join(o.dir, name+".so"), MaxObject)
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
	o.loaded[name] = &Object{name, c, o.manifest.Warnings[name], o.manifest.Originals[name]}
	return o.loaded[name], nil
}

// MaxObject bounds a compiled live patch, in bytes.
const MaxObject = 1 << 30

// TempPrefix begins the names of directories in which a compiler works.
const TempPrefix = ".compile-"

// compile compiles and links, and notes what assembler and linker read: included assembly and data,
// start files, libraries, version scripts.
func (o *Objects) compile(ctx context.Context, b *download.Build, text []byte) (*Object, error) {
	tmp, err := os.MkdirTemp(o.dir, TempPrefix)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	rel := filepath.Join(relObjects, filepath.Base(tmp))
	args := []string{"-Wl,--dependency-file=" + filepath.Join(rel, "linked"), "-o",
		filepath.Join(rel, "container.so")}
	_, said, err := o.compiler.start(ctx, slices.Concat(o.flags(b), args, o.patch.Sources)...)
	if err != nil {
		return nil, err
	}
	again, is, err := o.compileOlder(ctx, b, filepath.Join(tmp, "container.so"), args)
	if err != nil {
		return nil, err
	}
	if is {
		said = again
	}
	rule, err := regularfile.Read(filepath.Join(tmp, "linked"), maxManifest)
	if err != nil {
		return nil, &Error{filepath.Base(o.compiler.path), "", fmt.Errorf(
			"its linker does not tell what it reads (-Wl,--dependency-file): GNU binutils from "+
				"2.35 on, lld and mold do: %w", err)}
	}
	linked := o.existing(linkerRule(string(rule)))
	assembled, err := o.assembled(ctx, b, text, rel)
	if err != nil {
		return nil, err
	}
	if err := o.addFiles(append(linked, assembled...), text); err != nil {
		return nil, err
	}
	o.addAbsent(absentLibraries(o.root, linked, o.patch.CFlags))
	return o.keep(filepath.Join(tmp, "container.so"), said, originalsToSee(text, o.patch.CFlags))
}

// keep moves what was compiled to where it is named by its content, and remembers what the compiler
// said about it, and the pointers to former code that have to be in it.
func (o *Objects) keep(name string, said []byte, originals []string) (*Object, error) {
	d, err := digest.OfFile(name)
	if err != nil {
		return nil, err
	}
	if text := warnings(said); text != "" {
		o.manifest.Warnings[d.Hex] = text
	}
	if len(originals) > 0 {
		o.manifest.Originals[d.Hex] = originals
	}
	if err := os.Rename(name, filepath.Join(o.dir, d.Hex+".so")); err != nil {
		return nil, err
	}
	return o.open(d.Hex)
}

// temporary matches the name of an object file that is gone when the compiler has ended.
var temporary = lazyregexp.New(`\S*/cc[A-Za-z0-9]{6}\.(?:o|s|ltrans\S*)`)

// warnings returns what a compiler said, without what is different each time.
func warnings(said []byte) string {
	return temporary().ReplaceAllString(strings.TrimSpace(string(said)), "an object file")
}

// assembled returns the files that only the assembler knows of, .include and .incbin. It is asked,
// one source after the other, only if there is a word of them: that takes another run of the
// compiler.
func (o *Objects) assembled(ctx context.Context, b *download.Build, text []byte,
	rel string) ([]string, error) {
	var names []string
	for _, source := range o.patch.Sources {
		own, err := regularfile.Read(at(o.root, source), MaxObject)
		if err != nil {
			return nil, err
		}
		if !readsInAssembler(text) && !readsInAssembler(own) {
			continue
		}
		rule := filepath.Join(rel, "assembled")
		args := []string{"-fno-lto", "-c", "-Wa,--MD," + rule, "-o",
			filepath.Join(rel, "assembled.o"), source}
		if _, err := o.compiler.run(ctx, append(o.flags(b), args...)...); err != nil {
			return nil, err
		}
		data, err := regularfile.Read(at(o.root, rule), maxManifest)
		if errors.Is(err, os.ErrNotExist) {
			continue // an object file: nothing is assembled
		}
		if err != nil {
			return nil, err
		}
		names = append(names, o.existing(makeRule(string(data)))...)
	}
	return names, nil
}

// existing drops the files that were only there for the moment.
func (o *Objects) existing(names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool {
		_, err := os.Stat(at(o.root, name))
		return err != nil || within("/"+name, "/"+relObjects)
	})
}
