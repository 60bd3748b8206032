package spec

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
)

// Clean removes the files that build and dist made in a package directory, by name. Other files
// stay, and so do the directories that contain them, links, and the targets of links. It returns
// the names of what it removed.
func Clean(c *config.Config) ([]string, error) {
	made, err := buildmatrix.Made(c)
	if err != nil {
		return nil, err
	}
	published, err := madeByDist(c)
	if err != nil {
		return nil, err
	}
	var removed []string
	for _, name := range append(made, published...) {
		if ours, err := isOurs(c.Dir, name); err != nil {
			return removed, err
		} else if !ours {
			continue
		}
		err := os.Remove(name)
		if err == nil {
			removed = append(removed, name)
		} else if !errors.Is(err, fs.ErrNotExist) && !isNotEmpty(name) {
			return removed, err
		}
	}
	return removed, nil
}

// madeByDist returns what [Make] writes, including the leftovers of a killed run, in the order in
// which it can be removed.
func madeByDist(c *config.Config) ([]string, error) {
	dist := filepath.Join(c.Dir, distDir)
	names, err := archivesOf(dist, c.Name)
	if err != nil {
		return nil, err
	}
	own := []string{c.Name + ".spec", c.Name + ".changes", c.Name + "-rpmlintrc"}
	for _, name := range own {
		names = append(names, filepath.Join(dist, name))
	}
	stages, err := filepath.Glob(filepath.Join(escapeGlob(dist), stagePrefix+"*"))
	if err != nil {
		return nil, err
	}
	for _, stage := range stages {
		if names, err = appendStage(names, stage, c.Name, own); err != nil {
			return nil, err
		}
	}
	return append(names, dist), nil
}

// appendStage appends a directory in which files were prepared, after its files.
func appendStage(names []string, stage, name string, own []string) ([]string, error) {
	entries, err := os.ReadDir(stage)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		base := strings.TrimSuffix(e.Name(), ".former")
		// a file that was being written has a number at the end of its name
		if hidden, ok := strings.CutPrefix(base, "."); ok {
			base = strings.TrimSuffix(hidden, filepath.Ext(hidden))
		}
		if IsArchiveOf(base, name) || slices.Contains(own, base) {
			names = append(names, filepath.Join(stage, e.Name()))
		}
	}
	return append(names, stage), nil
}

// escapeGlob returns a pattern that matches nothing but name.
func escapeGlob(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(name)
}

// isOurs reports whether name is a file or a directory, and reached from dir through directories
// only.
func isOurs(dir, name string) (bool, error) {
	rel, err := filepath.Rel(dir, name)
	if err != nil || !filepath.IsLocal(rel) {
		return false, err
	}
	at := dir
	for part := range strings.SplitSeq(rel, string(filepath.Separator)) {
		at = filepath.Join(at, part)
		info, err := os.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if !info.IsDir() && (at != filepath.Clean(name) || !info.Mode().IsRegular()) {
			return false, nil
		}
	}
	return true, nil
}

// isNotEmpty reports whether name is a directory that still has files, which are not ours.
func isNotEmpty(name string) bool {
	entries, err := os.ReadDir(name)
	return err == nil && len(entries) > 0
}
