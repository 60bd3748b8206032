package scaffold

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// Patch is a live patch of an imported tree.
type Patch struct {
	Library, Description, Source string
	Test                         string   // "" for none
	CFlags                       []string // what the source needs of the tree's makefiles
}

// What is taken of a tree that is imported.
const (
	maxImported     = 10_000  // files looked at
	maxImportedFile = 1 << 20 // bytes
)

// ErrImport says that a tree has no description for which there is a source.
var ErrImport = errors.New("no live patch to import")

// imported is what was found in a tree.
type imported struct {
	patches []Patch
	files   []file
	left    []string // what was not taken, and why
}

var (
	containerNumber = lazyregexp.New(`_livepatch[0-9]*`)
	quotedInclude   = lazyregexp.New(`(?m)^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"`)
	glibcLibrary    = lazyregexp.New(`^(libc|libpthread|librt|libdl)(-[0-9.]+)?\.so(\.[0-9]+)?$`)
)

// glibcNames are the libraries of glibc by their names without numbers, and by the words of templates.
var glibcNames = map[string]string{"libc": "libc.so.6", "libpthread": "libpthread.so.0", "librt": "librt.so.1", "libdl": "libdl.so.2",
	"LIBC": "libc.so.6", "LIBPTHREAD": "libpthread.so.0", "LIBRT": "librt.so.1", "{library}": "libc.so.6"}

// importTree reads a tree of descriptions and their sources, as packages have it that are made by make and sed. Files keep
// their places in it, so that what they include is found.
func importTree(dir string) (*imported, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	texts, looked := map[string][]byte{}, 0
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(d.Name(), ".") && d.IsDir():
			return fs.SkipDir
		case !d.Type().IsRegular() || strings.HasPrefix(d.Name(), "."):
			return nil
		}
		if looked++; looked > maxImported {
			return fmt.Errorf("%s has more than %d files", dir, maxImported)
		}
		if !slices.Contains([]string{".in", ".dsc", ".c", ".h", ".S", ".inc"}, path.Ext(name)) {
			return nil
		}
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		text, err := io.ReadAll(io.LimitReader(f, maxImportedFile+1))
		if err == nil && len(text) > maxImportedFile {
			err = fmt.Errorf("%s has more than %d bytes", filepath.Join(dir, name), maxImportedFile)
		}
		texts[name] = text
		return err
	})
	if err != nil {
		return nil, err
	}
	return convert(dir, texts)
}

// convert makes a package of the files of a tree.
func convert(dir string, texts map[string][]byte) (*imported, error) {
	var names []string
	for name := range texts {
		names = append(names, name)
	}
	slices.Sort(names)
	out, numbers := &imported{}, map[string]int{}
	for _, name := range names {
		switch path.Ext(name) {
		case ".in", ".dsc":
			out.description(name, texts, numbers)
		default:
			out.files = append(out.files, file{name, texts[name]})
		}
	}
	for _, name := range names {
		if strings.Contains(path.Base(name), "_livepatch") && path.Ext(name) == ".c" &&
			!slices.ContainsFunc(out.patches, func(p Patch) bool { return p.Source == name }) {
			out.left = append(out.left, name+": no description names it")
		}
	}
	if len(out.patches) == 0 {
		return nil, fmt.Errorf("%s: %w: %s", dir, ErrImport, strings.Join(append(out.left, "it has no .in or .dsc file with its .c file")[:1], "; "))
	}
	return out, nil
}

// description takes one description over, with a container name of its own.
func (m *imported) description(name string, texts map[string][]byte, numbers map[string]int) {
	leave := func(why string) { m.left = append(m.left, name+": "+why) }
	stem := strings.TrimSuffix(name, path.Ext(name))
	if _, ok := texts[stem+".in"]; ok && path.Ext(name) == ".dsc" {
		return // made of the .in file
	}
	d, err := ulp.ParsePartialDescription(name, texts[name])
	if err != nil {
		leave(strings.SplitN(err.Error(), "\n", 2)[0])
		return
	}
	p := Patch{Description: name, Library: libraryOf(d.Target.Text)}
	if p.Source = sourceOf(stem, texts); p.Source == "" {
		leave("no source beside it")
		return
	}
	p.CFlags = flagsOf(p.Source, texts)
	if test := path.Join(path.Dir(name), "test.c"); texts[test] != nil {
		p.Test = test
	}
	of, _, _ := strings.Cut(path.Base(d.Container.Text), "_")
	of = strings.TrimSuffix(of, ".so")
	numbers[of]++
	number := fmt.Sprintf("_livepatch%d", numbers[of])
	container := path.Base(d.Container.Text)
	if !strings.Contains(container, "{version}-{release}") && !strings.Contains(container, "GLIBCVER") {
		container = of + "_{version}-{release}_livepatch.so"
	}
	container = containerNumber().ReplaceAllString(container, number)
	lines := bytes.SplitAfter(texts[name], []byte("\n"))
	for _, l := range []struct {
		n    ulp.Name
		text string
	}{{d.Container, container}, {d.Target, "@{library}"}} {
		line := lines[l.n.Pos.Line-1]
		end := line[len(bytes.TrimRight(line, "\r\n")):]
		lines[l.n.Pos.Line-1] = append([]byte(l.text), end...)
	}
	m.patches = append(m.patches, p)
	m.files = append(m.files, file{name, bytes.Join(lines, nil)})
}

// libraryOf returns the library that a target names, as lpbuild.yaml has it.
func libraryOf(target string) string {
	if known := glibcNames[target]; known != "" {
		return known
	}
	base := path.Base(target)
	if m := glibcLibrary().FindStringSubmatch(base); m != nil {
		return glibcNames[m[1]]
	}
	if dir := path.Dir(target); path.IsAbs(target) && dir != "/lib64" && dir != "/usr/lib64" {
		return path.Clean(target)
	}
	return base
}

// flagsOf returns -I for the directories of the headers that a source includes, and these headers, which are not beside what
// includes them; a name that several directories have is left to the person. Where _PACKAGE_NAME or _VERSION is asked for, which
// makefiles of such trees define, it is that of the package.
func flagsOf(source string, texts map[string][]byte) []string {
	var flags []string
	add := func(flag string) {
		if !slices.Contains(flags, flag) {
			flags = append(flags, flag)
		}
	}
	todo := []string{source}
	for i := 0; i < len(todo) && i < maxImported; i++ {
		for _, m := range quotedInclude().FindAllSubmatch(texts[todo[i]], -1) {
			want := string(m[1])
			at := path.Join(path.Dir(todo[i]), want)
			if texts[at] == nil {
				var found []string
				for name := range texts {
					if name == want || strings.HasSuffix(name, "/"+want) {
						found = append(found, name)
					}
				}
				if len(found) != 1 {
					continue
				}
				at = found[0]
				add("-I" + path.Clean("./"+strings.TrimSuffix(at, want)))
			}
			if !slices.Contains(todo, at) {
				todo = append(todo, at)
			}
		}
		for name, macro := range map[string]string{"_PACKAGE_NAME": "LPBUILD_PACKAGE_NAME", "_VERSION": "LPBUILD_PACKAGE_VERSION"} {
			if bytes.Contains(texts[todo[i]], []byte("defined("+name+")")) {
				add("-D" + name + "=" + macro)
			}
		}
	}
	slices.Sort(flags)
	return flags
}

// sourceOf returns the source of a description: the file of its name, or the only other one beside it that is no test.
func sourceOf(stem string, texts map[string][]byte) string {
	if texts[stem+".c"] != nil {
		return stem + ".c"
	}
	var others []string
	for name := range texts {
		if path.Dir(name) == path.Dir(stem) && path.Ext(name) == ".c" && !strings.HasPrefix(path.Base(name), "test") {
			others = append(others, name)
		}
	}
	if len(others) == 1 {
		return others[0]
	}
	return ""
}
