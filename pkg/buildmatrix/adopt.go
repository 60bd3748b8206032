package buildmatrix

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/compile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/gate"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// adopt fills in what the former report says of the cells of architectures that were not asked for.
// A cell is kept if the object, the expanded description and the catalogue are unchanged, which can
// be checked without a compiler. Otherwise the cell fails as not built, and its container is
// removed. kept are the architectures in the former report.
func (m *matrix) adopt(jobs []*job, former *Report,
	inputs map[string]bool) (kept map[symtab.Arch]bool) {
	kept = map[symtab.Arch]bool{}
	if former == nil {
		return kept
	}
	known := map[string]CellInfo{}
	for _, c := range former.Cells {
		if arch := symtab.Arch(c.Arch); !m.asked(arch) {
			kept[arch] = true
			known[c.Key] = c
		}
	}
	delete(known, "")
	others := slices.DeleteFunc(slices.Clone(jobs), func(j *job) bool { return !kept[j.Arch] })
	for _, group := range groups(others) {
		m.adoptGroup(group, known, inputs)
	}
	return kept
}

func (m *matrix) adoptGroup(group []*job, known map[string]CellInfo, inputs map[string]bool) {
	first := group[0]
	o, err := compile.Open(m.dir, m.config, first.Patch, first.Arch, nil)
	if err == nil {
		for _, name := range o.Inputs() {
			inputs[name] = true
		}
	}
	for _, j := range group {
		if err == nil && m.adoptCell(j, o, known) {
			continue
		}
		j.refuse(Failed, gate.Reason{
			Code: "not-built", Message: "something that the container depends on has changed " +
				"since it was made",
			Hint: fmt.Sprintf("run lpbuild build, or lpbuild build --arch %s", j.Arch),
		})
		j.info.Key, j.info.Functions = "", nil
	}
}

// adoptCell takes over a cell of the former report if a build would certainly give the same.
func (m *matrix) adoptCell(j *job, o *compile.Objects, known map[string]CellInfo) bool {
	var err error
	if j.object, err = o.Known(j.Build); err != nil || m.expand(j) != nil ||
		j.info.Status != Built {
		return false
	}
	former, ok := known[j.info.Key]
	if !ok {
		return false
	}
	if former.Status == Built {
		d, err := digest.OfFile(filepath.Join(m.dir, former.Arch, former.Container))
		if err != nil || d != former.Digest {
			return false
		}
	}
	*j.info = former
	return true
}

// withoutBuilds returns a refused cell for each patch and architecture that no build of the lock is
// for: a fix that is silently left out would be worse than one that fails.
func (m *matrix) withoutBuilds(jobs []*job) []CellInfo {
	var empty []CellInfo
	for _, arch := range m.config.Arch {
		for i := range m.config.Patches {
			p := &m.config.Patches[i]
			if slices.ContainsFunc(jobs, func(j *job) bool {
				return j.Patch == p && j.Arch == arch
			}) {
				continue
			}
			message, hint := m.noBuild(p, arch)
			empty = append(empty, CellInfo{
				Status: Refused, Patch: p.Description, Library: p.Library, Arch: string(arch),
				Reasons: []gate.Reason{{
					Code: "no-build", Where: p.Pos.String(), Message: message, Hint: hint,
				}},
			})
		}
	}
	return empty
}

// removeStale removes the containers that lpbuild made and this report does not have.
func (m *matrix) removeStale(former, r *Report) {
	now := map[string]bool{}
	for _, c := range r.Containers() {
		now[filepath.Join(m.dir, c.Arch, c.Container)] = true
	}
	var names []string
	if former != nil {
		for _, c := range former.Containers() {
			names = append(names, filepath.Join(m.dir, c.Arch, c.Container))
		}
	}
	for _, name := range append(names, strayContainers(m.dir, now)...) {
		if !now[name] {
			_ = os.Remove(name) // it may be gone already; nothing depends on it
		}
	}
}
