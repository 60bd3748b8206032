package buildmatrix

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/lpbuild/lpbuild/internal/atomicfile"
	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/gate"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
)

// ReportFormat is the version of report.json.
const ReportFormat = 1

// ReportName is the report's file name in the build directory.
const ReportName = "report.json"

// Status is what became of a cell.
type Status string

// The three things that can become of a cell.
const (
	Built   Status = "built"   // there is a container
	Refused Status = "refused" // the live patch cannot work in this build
	Failed  Status = "failed"  // it could not be made: the compiler or the machine said no
)

// Report is what a build made, cell by cell. Two runs over the same input write the same report.
type Report struct {
	Format   int    `json:"format"`
	Name     string `json:"name"`
	Version  string `json:"version"`
	Tool     string `json:"tool"`
	Unsigned bool   `json:"unsigned,omitempty"` // a repository was not signed
	// the part of the matrix that this is about, "2/4"; "": all
	Group        string     `json:"group,omitempty"`
	CompilerRuns int        `json:"-"` // of this run, preprocessing included
	Cells        []CellInfo `json:"cells"`
	// files of the package directory that the compiler read, sorted
	Inputs []string `json:"inputs"`
}

// CellInfo is one cell in the report.
type CellInfo struct {
	Status  Status `json:"status"`
	Patch   string `json:"patch"` // its description file
	Library string `json:"library"`
	Package string `json:"package"`
	Version string `json:"version"`
	Release string `json:"release"`
	Arch    string `json:"arch"`
	// kind of processor, of a library that is there once for each
	Variant string `json:"variant,omitempty"`
	// file name; in the directory named by Arch
	Container string        `json:"container,omitempty"`
	Target    string        `json:"target_build_id"`
	Functions []string      `json:"functions,omitempty"` // replaced functions, patterns expanded
	Reasons   []gate.Reason `json:"reasons,omitempty"`   // why there is no container
	// which can apply the container: "pulp", "native"
	Engines []string `json:"engines,omitempty"`
	// what keeps an engine from it, or is worth knowing
	Notes  []gate.Reason `json:"notes,omitempty"`
	Fresh  bool          `json:"-"`             // the container was made by this run
	Key    string        `json:"key,omitempty"` // hash of everything that the container depends on
	Digest digest.Digest `json:"digest"`        // of the container
}

// Count returns how many cells have one of the given states.
func (r *Report) Count(states ...Status) int {
	n := 0
	for _, c := range r.Cells {
		for _, s := range states {
			if c.Status == s {
				n++
			}
		}
	}
	return n
}

// Containers returns the cells that have a container.
func (r *Report) Containers() []CellInfo {
	var list []CellInfo
	for _, c := range r.Cells {
		if c.Status == Built {
			list = append(list, c)
		}
	}
	return list
}

// maxReport bounds report.json, in bytes.
const maxReport = 64 << 20

// ReadReport reads the report of a build directory. A directory without one gives an error that is
// [os.ErrNotExist].
func ReadReport(buildDir string) (*Report, error) {
	name := filepath.Join(buildDir, ReportName)
	data, err := regularfile.Read(name, maxReport)
	if err != nil {
		return nil, err
	}
	r, err := parseReport(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// parseReport reads a report. What it names lies in a directory of the build directory.
func parseReport(data []byte) (*Report, error) {
	var r Report
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	if r.Format != ReportFormat {
		return nil, fmt.Errorf("report format %d is not %d: made by another version of lpbuild",
			r.Format, ReportFormat)
	}
	for _, c := range r.Cells {
		if c.Arch != filepath.Base(c.Arch) || !filepath.IsLocal(c.Arch) ||
			c.Container != "" && (c.Container != filepath.Base(c.Container) ||
				!filepath.IsLocal(c.Container)) || c.Container == "" && c.Status == Built {
			return nil, fmt.Errorf("%q in %q is not a file of the build directory", c.Container,
				c.Arch)
		}
	}
	return &r, nil
}

// write puts the report in place if it says something new: unchanged input leaves the file
// untouched.
func (r *Report) write(buildDir string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(r); err != nil {
		return err
	}
	name := filepath.Join(buildDir, ReportName)
	if former, err := regularfile.Read(name, maxReport); err == nil &&
		bytes.Equal(former, b.Bytes()) {
		return nil
	}
	return atomicfile.Write(name, b.Bytes(), 0o644)
}

// Build names the build that a cell is for, NAME-VERSION-RELEASE.ARCH; a cell of a patch that is
// for no build has its architecture alone.
func (c *CellInfo) Build() string {
	if c.Package == "" {
		return c.Arch
	}
	return fmt.Sprintf("%s-%s-%s.%s", c.Package, c.Version, c.Release, c.Arch)
}
