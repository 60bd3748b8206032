package compile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	"github.com/lpbuild/lpbuild/internal/atomicfile"
	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
)

// manifest is what is known from earlier runs, so that the compiler need not be asked again. It
// holds as long as every file that compiler, assembler and linker read is unchanged, none has
// appeared that they would have read instead, and the programs are the same.
type manifest struct {
	// [compiler.identity] of the one that was asked
	Compiler string                   `json:"compiler"`
	Survey   survey                   `json:"survey"`
	Files    map[string]digest.Digest `json:"files"` // that were read
	// that would have been read instead, had they been there; sorted
	Absent   []string          `json:"absent"`
	PerBuild bool              `json:"per_build"` // the source asks for the build
	Objects  map[string]string `json:"objects"`   // macros that differ between builds → object
	Texts    map[string]string `json:"texts"`     // hash of preprocessed source → object
	Warnings map[string]string `json:"warnings"`  // object → what the compiler said
	// object → what its functions use, where that was asked
	Calls map[string]CallGraph `json:"uses"`
	// object → its functions that choose implementations, where that was asked
	Choosers map[string][]Chooser `json:"choosers"`
	// object → pointers to former code that have to be in it
	Originals map[string][]string `json:"originals"`
}

func newManifest() manifest {
	return manifest{Files: map[string]digest.Digest{}, Objects: map[string]string{},
		Texts: map[string]string{}, Warnings: map[string]string{}, Calls: map[string]CallGraph{},
		Choosers: map[string][]Chooser{}, Originals: map[string][]string{}}
}

// maxManifest bounds a manifest and the rules that compilers write, in bytes.
const maxManifest = 64 << 20

// readManifest reads the manifest of an earlier run. The result is empty if there is none that
// still holds.
func readManifest(name, dir string) manifest {
	var m manifest
	data, err := regularfile.Read(name, maxManifest)
	if err != nil || json.Unmarshal(data, &m) != nil || m.Objects == nil || m.Texts == nil ||
		m.Warnings == nil || m.Calls == nil || m.Choosers == nil || m.Originals == nil ||
		!m.holds(dir) {
		return newManifest()
	}
	return m
}

// holds reports whether everything is as the manifest says. dir is the package directory.
func (m *manifest) holds(dir string) bool {
	if len(m.Files) == 0 || !m.Survey.holds() {
		return false
	}
	for _, name := range m.Absent {
		if _, err := os.Stat(at(dir, name)); err == nil {
			return false
		}
	}
	for name, want := range m.Files {
		if d, err := digest.OfFile(at(dir, name)); err != nil || d != want {
			return false
		}
	}
	return true
}

func (m *manifest) write(name string) error {
	slices.Sort(m.Absent)
	data, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	return atomicfile.Write(name, data, 0o644)
}

// isEmpty reports whether the compiler has not been asked yet.
func (m *manifest) isEmpty() bool { return len(m.Files) == 0 }

// group returns what tells apart the builds that may need an object of their own: "" if the source
// does not ask.
func (m *manifest) group(macros []string) string {
	if !m.PerBuild {
		return ""
	}
	return digest.OfStrings(macros...)
}

// inputs returns the files of the package directory that were read.
func (m *manifest) inputs() []string {
	var names []string
	for name := range m.Files {
		if clean := filepath.Clean(name); filepath.IsLocal(clean) &&
			!within("/"+clean, "/"+config.BuildDir) {
			names = append(names, filepath.ToSlash(clean))
		}
	}
	return names
}

// at returns the place of a file that a compiler in the directory dir calls name.
func at(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}
