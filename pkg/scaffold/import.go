package scaffold

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// Patch is a live patch of an imported tree.
type Patch struct {
	Library, Description, Source string
	Test                         string   // "" for none
	CFlags                       []string // flags that the source gets from the tree's makefiles
	// why other patches may replace the same functions; "" if they may not
	Overlaps string
	// why replacements may take the addresses of the functions that they replace; "" if they may
	// not
	Recursion string

	replaces map[string]string // functions of the library, and their replacements
}

// Bounds of an imported tree.
const (
	maxImported     = 10_000  // number of files
	maxImportedFile = 1 << 20 // bytes
)

// ErrImport means that a tree has no description with a source.
var ErrImport = errors.New("no live patch to import")

// imported is what was found in a tree.
type imported struct {
	patches []Patch
	files   []file
	left    []string // files that were not imported, and why
	renamed []string // containers that got another number, with both names
}

var (
	containerNumber = lazyregexp.New(`_livepatch[0-9]*`)
	quotedInclude   = lazyregexp.New(`(?m)^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"`)
	stringifies     = lazyregexp.New(`(?m)^[ \t]*#[ \t]*define[ \t]+\w+\([^)\n]*\)[ \t]+#[ \t]*\w`)
	glibcLibrary    = lazyregexp.New(`^(libc|libpthread|librt|libdl)(-[0-9.]+)?\.so(\.[0-9]+)?$`)
)

// glibcNames maps the names of glibc's libraries without numbers, and the words of templates, to
// the libraries.
var glibcNames = map[string]string{"libc": "libc.so.6", "libpthread": "libpthread.so.0",
	"librt": "librt.so.1", "libdl": "libdl.so.2",
	"LIBC": "libc.so.6", "LIBPTHREAD": "libpthread.so.0", "LIBRT": "librt.so.1",
	"{library}": "libc.so.6"}

// importTree reads a tree of descriptions and their sources, of the kind that make and sed process.
// Files keep their places in it, so that includes are found.
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
		text, err := regularfile.ReadIn(root, name, maxImportedFile)
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
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
	out.overlaps(texts)
	for _, name := range names {
		if strings.Contains(path.Base(name), "_livepatch") && path.Ext(name) == ".c" &&
			!slices.ContainsFunc(out.patches, func(p Patch) bool { return p.Source == name }) {
			out.left = append(out.left, name+": no description is beside it: write "+
				strings.TrimSuffix(name, ".c")+
				".in, unless the tree's makefile makes that")
		}
	}
	if len(out.patches) == 0 {
		return nil, fmt.Errorf("%s: %w: %s", dir, ErrImport,
			strings.Join(append(out.left, "it has no .in or .dsc file with a .c file")[:1], "; "))
	}
	return out, nil
}

// describe converts one description, and gives it a container name of its own.
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
	p := Patch{Description: name, Library: libraryOf(d.Target.Text), replaces: map[string]string{}}
	for _, r := range d.Functions {
		p.replaces[r.Old.Text] = r.New.Text
	}
	sources := sourcesOf(stem, texts)
	switch len(sources) {
	case 0:
		leave("no source beside it")
		return
	case 1:
		p.Source = sources[0]
	default:
		leave("several sources beside it, none of them " + path.Base(stem) + ".c")
		return
	}
	p.CFlags = flagsOf(p.Source, texts)
	p.Recursion = skipsDetour(p.Source, texts)
	if test := path.Join(path.Dir(name), "test.c"); texts[test] != nil {
		p.Test = test
	}
	of, _, _ := strings.Cut(path.Base(d.Container.Text), "_")
	of = strings.TrimSuffix(of, ".so")
	numbers[of]++
	number := fmt.Sprintf("_livepatch%d", numbers[of])
	container := path.Base(d.Container.Text)
	if !strings.Contains(container, "{version}-{release}") &&
		!strings.Contains(container, "GLIBCVER") {
		container = of + "_{version}-{release}" +
			cmp.Or(containerNumber().FindString(container), number) + ".so"
	}
	if former := containerNumber().FindString(container); former != number {
		m.renamed = append(m.renamed, fmt.Sprintf("%s: %s is now %s", name, container,
			containerNumber().ReplaceAllString(container, number)))
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

// libraryOf returns the library of a target, as lpbuild.yaml names it.
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

// flagsOf returns -I flags for the directories of the headers that a source includes, and these
// headers, unless they are beside the file that includes them; if several directories have a name,
// the user has to decide. If the source uses _PACKAGE_NAME or _VERSION, which the makefiles of such
// trees define, it gets those of the package.
func flagsOf(source string, texts map[string][]byte) []string {
	var flags []string
	add := func(flag string) {
		if !slices.Contains(flags, flag) {
			flags = append(flags, flag)
		}
	}
	files := readBy(source, texts, add)
	suffix := "" // makefiles define the macros without quotes if the sources add them
	if slices.ContainsFunc(files, func(file string) bool {
		return stringifies().Match(texts[file])
	}) {
		suffix = "_UNQUOTED"
	}
	for _, file := range files {
		for name, macro := range map[string]string{"_PACKAGE_NAME": "LPBUILD_PACKAGE_NAME",
			"_VERSION": "LPBUILD_PACKAGE_VERSION"} {
			if bytes.Contains(texts[file], []byte("defined("+name+")")) {
				add("-D" + name + "=" + macro + suffix)
			}
		}
	}
	slices.Sort(flags)
	return flags
}

// readBy returns a source and the files of the tree that it includes, directly or indirectly. add
// gets the flags needed to find them.
func readBy(source string, texts map[string][]byte, add func(flag string)) []string {
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
	}
	return todo
}

// overlaps marks patches that share replacements: if several replace a function of one library by
// the same code, from one file that all of them read, any of them will do. Trees have such a
// function in each live patch, to tell which one is applied.
func (m *imported) overlaps(texts map[string][]byte) {
	type function struct{ library, name string }
	by := map[function][]int{}
	for i, p := range m.patches {
		for old := range p.replaces {
			f := function{p.Library, old}
			by[f] = append(by[f], i)
		}
	}
	why, differ := map[int][]string{}, map[int]bool{}
	for f, patches := range by {
		if len(patches) < 2 {
			continue
		}
		first := m.patches[patches[0]]
		replacement := first.replaces[f.name]
		from := definedIn(replacement, first.Source, texts)
		for _, i := range patches {
			p := m.patches[i]
			if p.replaces[f.name] != replacement || from == "" ||
				definedIn(replacement, p.Source, texts) != from {
				for _, i := range patches {
					differ[i] = true
				}
				break
			}
			why[i] = append(why[i], fmt.Sprintf("%s of %s is the same code in each", replacement,
				from))
		}
	}
	for i := range m.patches {
		if !differ[i] {
			slices.Sort(why[i])
			m.patches[i].Overlaps = strings.Join(why[i], ", ")
		}
	}
}

// shortJump matches the first byte of a detour on x86_64, as sources spell it.
var shortJump = lazyregexp.New(`(?i)\b0xeb\b`)

// skipsDetour returns why a source may take the addresses of functions that it replaces: code that
// it reads looks for the jump to the replacement, in order to call the code after it, as live
// patches for libpulp do to reach the former code. It returns "" for other sources. The build
// rejects calls that lead back in any case.
func skipsDetour(source string, texts map[string][]byte) string {
	for _, file := range readBy(source, texts, func(string) {}) {
		if shortJump().Match(texts[file]) {
			return file + " looks for the detour (0xEB), to call the code after it"
		}
	}
	return ""
}

// assumed returns the parts of lpbuild.yaml that were inferred from the sources, for the user to
// check.
func (m *imported) assumed() []string {
	var order []string
	patches := map[string]int{}
	for _, p := range m.patches {
		for key, why := range map[string]string{"overlaps": p.Overlaps, "recursion": p.Recursion} {
			if text := key + ": " + why; why != "" {
				if patches[text]++; patches[text] == 1 {
					order = append(order, text)
				}
			}
		}
	}
	slices.Sort(order)
	for i, text := range order {
		order[i] = fmt.Sprintf("%s (%d of %d patches)", text, patches[text], len(m.patches))
	}
	return order
}

// definedIn returns the file in which a source has the definition of a function, or "" if that is
// uncertain.
func definedIn(name, source string, texts map[string][]byte) string {
	definition := regexp.MustCompile(`(?m)^[^#\n;={}()]*\b` + regexp.QuoteMeta(name) +
		`[ \t]*\([^;{}]*\)[ \t\r\n]*\{`)
	found := ""
	for _, file := range readBy(source, texts, func(string) {}) {
		switch n := len(definition.FindAllIndex(texts[file], 2)); {
		case n == 0:
		case n > 1 || found != "":
			return ""
		default:
			found = file
		}
	}
	return found
}

// sourcesOf returns the possible sources of a description: the file with its name, or all others
// beside it that are not tests.
func sourcesOf(stem string, texts map[string][]byte) []string {
	if texts[stem+".c"] != nil {
		return []string{stem + ".c"}
	}
	var others []string
	for name := range texts {
		if path.Dir(name) == path.Dir(stem) && path.Ext(name) == ".c" &&
			!strings.HasPrefix(path.Base(name), "test") {
			others = append(others, name)
		}
	}
	return others
}
