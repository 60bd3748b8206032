package spec

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/lpbuild/lpbuild/internal/atomicfile"
	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
	rpmhelper "github.com/lpbuild/lpbuild/rpm-helper"
)

// Engine is the engine that a package with "engine: bundled" contains, and the units that retry
// processes that were busy.
type Engine struct {
	Program string      // the executable of lpbuild-engine
	Arch    symtab.Arch // architecture of the package
	Package string
	Path    string // of the engine on the customer's machine
	Units   string // systemd's directory for units there; "" means that none are written
}

// enginePath is the path of lpbuild-engine in its own package.
const enginePath = "/usr/bin/lpbuild-engine"

// maxPublished exceeds the size of any file of a package, in bytes.
const maxPublished = 1 << 30

// Install writes engine and units to their places below root, and returns their paths.
func (e Engine) Install(root string) ([]string, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	image, err := regularfile.Read(e.Program, maxPublished)
	if err != nil {
		return nil, err
	}
	paths := []string{filepath.Join(root, e.Path)}
	if err := atomicfile.Write(paths[0], image, 0o755); err != nil {
		return nil, err
	}
	if e.Units == "" {
		return paths, nil
	}
	units := filepath.Join(root, e.Units)
	for _, kind := range []string{"service", "timer"} {
		text, err := e.unit(kind)
		if err != nil {
			return nil, err
		}
		name := filepath.Join(units, e.Package+"-reconcile."+kind)
		if err := atomicfile.Write(name, text, 0o644); err != nil {
			return nil, err
		}
		paths = append(paths, name)
	}
	// The package enables its timer itself, just as its %post applies live patches without being
	// asked.
	timer := e.Package + "-reconcile.timer"
	link := filepath.Join(units, "timers.target.wants", timer)
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return nil, err
	}
	if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return append(paths, link), os.Symlink("../"+timer, link)
}

// check rejects an engine that would not run on the customer's machine.
func (e Engine) check() error {
	l, err := symtab.OpenLibrary(e.Program, symtab.LibraryOptions{})
	if err != nil {
		return err
	}
	if l.Arch != e.Arch {
		return fmt.Errorf("%s is a program for %s, the package is for %s: build it on a machine "+
			"of that kind, or with \"engine: system\"",
			e.Program, l.Arch, e.Arch)
	}
	return nil
}

// unit returns a unit of the package: lpbuild-engine's, with the package's engine and without the
// manual. Where lpbuild-engine is installed, its own timer does the work for all packages, under
// the same lock and with the same result.
func (e Engine) unit(kind string) ([]byte, error) {
	text, err := rpmhelper.FS.ReadFile("lpbuild-reconcile." + kind)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "Documentation="):
			continue
		case strings.HasPrefix(line, "Description="):
			line = strings.TrimSuffix(line, "\n") + " (" + e.Package + ")\n"
		case strings.HasPrefix(line, "ExecStart="):
			line = strings.Replace(line, enginePath, e.Path, 1)
		}
		b.WriteString(strings.ReplaceAll(line, "lpbuild-reconcile", e.Package+"-reconcile"))
		if line == "[Unit]\n" && kind == "service" {
			b.WriteString("# Where lpbuild-engine is installed, its timer does this for all " +
				"packages.\nConditionPathExists=!" + enginePath + "\n")
		}
	}
	return b.Bytes(), nil
}
