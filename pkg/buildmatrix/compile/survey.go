package compile

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// survey is what a compiler prints about itself: the programs that it starts, and where it looks
// for headers.
type survey struct {
	// program → what changes when another one is installed in its place
	Tools map[string]string `json:"tools"`
	// directories of headers, also those that are not there yet
	Search []string `json:"search"`
	Own    []string `json:"own"` // directories of the compiler's own files
}

// askCompiler determines the programs that a compiler really starts: it may be a script, ccache or
// distcc.
func askCompiler(ctx context.Context, c *Compiler, flags []string) (survey, error) {
	_, said, err := c.start(ctx,
		slices.Concat(flags, []string{"-E", "-v", "-x", "c", os.DevNull})...)
	if err != nil {
		return survey{}, err
	}
	s := survey{Tools: map[string]string{}}
	s.tool(c.path)
	s.read(string(said))
	theirs := flagPaths(flags)
	s.Own = slices.DeleteFunc(s.Own, func(dir string) bool {
		return slices.ContainsFunc(theirs, func(path string) bool { return within(dir, path) })
	})
	return s, nil
}

// flagPaths returns the absolute paths that flags name: what lies there is not the compiler's own.
func flagPaths(flags []string) []string {
	var paths []string
	for _, flag := range flags {
		for part := range strings.FieldsFuncSeq(flag, func(r rune) bool {
			return r == ',' || r == '='
		}) {
			if i := strings.IndexByte(part, '/'); i >= 0 {
				paths = append(paths, filepath.Clean(part[i:]))
			}
		}
	}
	return paths
}

// read takes what gcc -v prints: variables, the command line of cc1 (which begins with a blank),
// and the directories between two headings.
func (s *survey) read(said string) {
	searching := false
	var programs []string // directories where the driver looks for assembler and linker
	for line := range strings.Lines(said) {
		line = strings.TrimRight(line, "\n")
		name, value, isVariable := strings.Cut(line, "=")
		switch {
		case strings.HasSuffix(line, " search starts here:"):
			searching = true
		case line == "End of search list.":
			searching = false
		case searching:
			s.searchDir(strings.TrimPrefix(line, " "))
		case strings.HasPrefix(line, "ignoring nonexistent directory "):
			s.searchDir(strings.Trim(strings.TrimPrefix(line, "ignoring nonexistent directory "),
				`"`))
		case strings.HasPrefix(line, " /"), strings.HasPrefix(line, ` "/`): // gcc, clang
			program, _, _ := strings.Cut(strings.TrimLeft(line, ` "`), " ")
			s.tool(strings.TrimRight(program, `"`))
		case isVariable && (name == "COLLECT_GCC" || name == "COLLECT_LTO_WRAPPER"):
			s.tool(value)
		case isVariable && name == "COMPILER_PATH":
			programs = filepath.SplitList(value)
			s.own(programs)
		case isVariable && name == "LIBRARY_PATH":
			s.own(filepath.SplitList(value))
		}
	}
	for _, name := range []string{"as", "ld", "collect2"} {
		s.findTool(name, programs)
	}
}

func (s *survey) searchDir(name string) {
	if name = filepath.Clean(name); !slices.Contains(s.Search, name) {
		s.Search = append(s.Search, name)
		s.own([]string{name})
	}
}

func (s *survey) own(dirs []string) {
	for _, name := range dirs {
		if name = filepath.Clean(name); filepath.IsAbs(name) && name != "/" &&
			!slices.Contains(s.Own, name) {
			s.Own = append(s.Own, name)
		}
	}
}

// findTool notes the program that the driver takes for the name: the first one in its own
// directories, or in $PATH.
func (s *survey) findTool(name string, dirs []string) {
	for _, dir := range dirs {
		if path := filepath.Join(dir, name); stamp(path) != "" {
			s.tool(path)
			return
		}
	}
	s.tool(name)
}

func (s *survey) tool(name string) {
	if path, err := exec.LookPath(name); err == nil {
		s.Tools[path] = stamp(path)
	}
}

// holds reports whether the programs are still those that the survey met.
func (s *survey) holds() bool {
	for path, want := range s.Tools {
		if stamp(path) != want {
			return false
		}
	}
	return len(s.Tools) > 0
}

// stamp changes when another program is installed under a name, or when a link of that name points
// elsewhere; it is "" if there is no such file.
func stamp(path string) string {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	info, err := os.Stat(real) //nolint:gosec // the user names the compiler
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return fmt.Sprintf("%s %d %d", real, info.Size(), info.ModTime().UnixNano())
}

// within reports whether a path is a directory or lies in it. Both are absolute.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}
