package compile

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/rpmver"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// A linker binds a function to its newest version. glibc 2.34 moved libpthread, libdl and others
// into libc.so.6 and gave each function another version for that, pthread_key_create@@GLIBC_2.34
// beside @GLIBC_2.2.5, so that what was linked there is not loaded by an older glibc, which has the
// same function. Containers are bound to the older version, which every glibc has.

// movedSymbols returns the older versions of the functions of a C library that have several at one
// address, by the name with the newest version. A version that is a function of its own is left
// alone.
func movedSymbols(libc *symtab.Library) map[string]string {
	newest := map[string]symtab.Symbol{}
	for s := range libc.Symbols() {
		if s.IsExported() && s.Default {
			newest[s.Name] = s
		}
	}
	moved := map[string]string{}
	for s := range libc.Symbols() {
		d, ok := newest[s.Name]
		if !ok || !s.IsExported() || s.Version == "" || s.Version == d.Version ||
			s.Value != d.Value {
			continue
		}
		key := s.Name + "@" + d.Version
		series, number := symtab.SplitNumber(s.Version)
		if former, ok := moved[key]; ok {
			if _, oldest := symtab.SplitNumber(former); rpmver.Compare(oldest, number) < 0 {
				continue
			}
		}
		if number != "" && strings.HasPrefix(d.Version, series+"_") {
			moved[key] = s.Version
		}
	}
	return moved
}

// findMoved returns the moved symbols of the C library that a compiler links with; none if it
// cannot be read: the gate refuses what a build does not have.
func (c *Compiler) findMoved() map[string]string {
	out, err := c.run(context.Background(), "-print-file-name=libc.so.6")
	name := strings.TrimSpace(string(out))
	if err != nil || !filepath.IsAbs(name) {
		return nil
	}
	libc, err := symtab.OpenLibrary(name, symtab.LibraryOptions{})
	if err != nil {
		return nil
	}
	return movedSymbols(libc)
}

// olderVersions returns the flags that bind what a container uses to older versions of the same
// functions. libcHeader obeys them.
func (o *Objects) olderVersions(b *download.Build, c *ulp.Container) []string {
	if !isLibc(b) {
		return nil
	}
	var lines []string
	for _, u := range c.Undefined() {
		if older := o.compiler.moved()[u.Name+"@"+u.Version]; older != "" {
			lines = append(lines, fmt.Sprintf(".symver %s,%[1]s@%s", u.Name, older))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	slices.Sort(lines)
	return []string{"-D" + macroMoved + "=" + strconv.Quote(strings.Join(lines, "\n"))}
}

// compileOlder compiles once more, bound to older versions of what has moved. It returns whether
// the container at name is that; a source that says by itself which version it wants may not
// assemble like this, and stays as it is.
func (o *Objects) compileOlder(ctx context.Context, b *download.Build, name string,
	args []string) ([]byte, bool, error) {
	image, err := regularfile.Read(name, MaxObject)
	if err != nil {
		return nil, false, err
	}
	c, err := ulp.ParseContainer(image)
	if err != nil {
		return nil, false, err
	}
	flags := o.olderVersions(b, c)
	if flags == nil {
		return nil, false, nil
	}
	_, said, err := o.compiler.start(ctx, slices.Concat(o.flags(b), flags, args,
		o.patch.Sources)...)
	switch {
	case ctx.Err() != nil:
		return nil, false, err
	case err != nil:
		return nil, false, os.WriteFile(name, image, 0o755)
	}
	return said, true, nil
}
