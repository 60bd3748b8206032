package buildmatrix

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/gate"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
)

// containerName returns the name of the cell's container: as the description has it, with the kind
// of processor after the release if the library is one of several of its name.
func (c *Cell) containerName(expanded string) string {
	release := "_" + c.Build.Version + "-" + c.Build.Release
	head, tail, ok := strings.Cut(expanded, release+"_livepatch")
	if c.variant() == "" || !ok {
		return expanded
	}
	return head + release + "." + c.variant() + "_livepatch" + tail
}

// nameProblem returns the reason why the container's name does not tell which build it is for:
// RPM's Provides and test automation, which have only the name, would take it for another's.
// nil if it does.
func (j *job) nameProblem() *gate.Reason {
	name := j.description.Container
	build := j.Build.Version + "-" + j.Build.Release
	if v := j.variant(); v != "" {
		build += "." + v
	}
	stem, number, ok := strings.Cut(strings.TrimSuffix(name.Text, ".so"), "_"+build+"_livepatch")
	if ok && stem != "" && number != "" && strings.Trim(number, "0123456789") == "" {
		return nil
	}
	if stem = strings.TrimSpace(stem); !ok || stem == "" {
		stem, _, _ = strings.Cut(name.Text, "_")
	}
	reason := gate.ReasonAt("container-name", gate.At(j.template, name,
		fmt.Sprintf("the container's name %q does not say that it is for %s: %s_%s_livepatch1.so "+
			"would", name.Text, build, stem, build),
		fmt.Sprintf("write %s_{version}-{release}_livepatch1.so", stem)))
	return &reason
}

// refuseDoubles refuses all cells whose containers would overwrite each other, since it is not
// known which is meant.
func refuseDoubles(jobs []*job) {
	groups := map[string][]*job{}
	for _, j := range jobs {
		if j.info.Status == Built {
			name := j.info.Arch + "/" + j.info.Container
			groups[name] = append(groups[name], j)
		}
	}
	for _, group := range groups {
		if len(group) == 1 {
			continue
		}
		message, hint := doubles(group)
		for _, j := range group {
			reason := gate.ReasonAt(SameName, gate.At(j.template, j.description.Container, message,
				hint))
			j.refuse(Refused, reason)
			j.info.Key = "" // the verdict depends on more than the cell
		}
	}
}

// SameName is the code of a reason that several cells have in common, in the same words: their
// containers have one name.
const SameName = "same-name"

// doubles says what is wrong with cells whose containers have one name, and proposes numbers.
func doubles(group []*job) (message, hint string) {
	var names []string
	for _, j := range group {
		if !slices.Contains(names, j.Patch.Description) {
			names = append(names, j.Patch.Description)
		}
	}
	name := group[0].info.Container
	if len(names) == 1 {
		return fmt.Sprintf("%s would be the container of %s", name, othersOf(nil, group)),
			"give each live patch a number or a stem of its own"
	}
	var numbers []string
	for i, n := range names {
		numbers = append(numbers, fmt.Sprintf("livepatch%d in %s", i+1, n))
	}
	build := "_" + group[0].Build.Version + "-" + group[0].Build.Release
	return fmt.Sprintf("%s would be the container of each of %s",
			strings.Replace(name, build, "_{version}-{release}", 1), strings.Join(names, ", ")),
		"give each a number of its own: " + strings.Join(numbers, ", ")
}

// descriptionsOf names the descriptions of cells, not their builds, so that the words are the same
// for each build.
func descriptionsOf(group []*job) string {
	var names []string
	for _, j := range group {
		if !slices.Contains(names, j.Patch.Description) {
			names = append(names, j.Patch.Description)
		}
	}
	if len(names) > 50 {
		names = append(names[:50], "…")
	}
	return strings.Join(names, ", ")
}

// othersOf names the cells of a group without one.
func othersOf(j *job, group []*job) string {
	var names []string
	for _, other := range group {
		if other != j && !slices.Contains(names, other.Name()) {
			names = append(names, other.Name())
		}
	}
	if len(names) > 5 {
		names = append(names[:5], "…")
	}
	return strings.Join(names, ", ")
}

// entry is a function of a library in memory, whatever its names.
type entry struct {
	arch, buildID string
	address       uint64
}

// ReplacedTwice is the code of a reason that cells of several patches have in common, in the same
// words: they replace one function.
const ReplacedTwice = "replaced-twice"

// refuseShadowed notes reasons against the cells of several patches that replace one function of
// one library: a process would run only what is applied last, and what the others mend would be
// broken again without a word. If all of them accept that, it is no reason.
func (m *matrix) refuseShadowed(jobs []*job) error {
	replaced := map[entry][]*job{}
	addresses := map[*job][]entry{}
	for _, j := range jobs {
		if j.info.Status != Built {
			continue
		}
		lib, err := m.library(j.Library)
		if err != nil {
			return err
		}
		for _, f := range j.description.Functions {
			e := entry{arch: j.info.Arch, buildID: j.Library.BuildID}
			if row, ok := lib.Function(f.Old.Text); ok {
				e.address = row.Value
				replaced[e] = append(replaced[e], j)
			}
			addresses[j] = append(addresses[j], e)
		}
	}
	for _, j := range jobs {
		for i, e := range addresses[j] {
			rivals := slices.DeleteFunc(slices.Clone(replaced[e]), func(o *job) bool {
				return o.Patch == j.Patch
			})
			if len(rivals) == 0 || e.address == 0 {
				continue
			}
			old := j.description.Functions[i].Old
			if !slices.ContainsFunc(replaced[e], func(o *job) bool {
				return o.Patch.Overlaps == ""
			}) {
				j.overlaps = append(j.overlaps, gate.Reason{Code: ReplacedTwice,
					Where: old.Pos.String(), Message: fmt.Sprintf(
						"%q is replaced by each of %s%s%s", old.Text, descriptionsOf(replaced[e]),
						gate.Accepted, j.Patch.Overlaps)})
				continue
			}
			j.shadowed = append(j.shadowed, gate.ReasonAt(ReplacedTwice, gate.At(j.template, old,
				fmt.Sprintf("%q is replaced by each of %s: only the one that is applied last "+
					"would work", old.Text,
					descriptionsOf(replaced[e])),
				"put the changes into one replacement, or give the patches \"builds\" that do "+
					"not overlap; if any of them will do, as all have the same code, each says "+
					"so: overlaps: {accept: \"...\"}")))
			j.info.Key = "" // the verdict depends on more than the cell
		}
	}
	return nil
}

// overlapsKey is what the verdict on a patch that accepts overlaps depends on beside the cell; ""
// for any other patch.
func (m *matrix) overlapsKey(p *config.Patch) string {
	if p.Overlaps == "" {
		return ""
	}
	var all []string
	for i := range m.config.Patches {
		all = append(all, m.config.Patches[i].Description, m.config.Patches[i].Overlaps)
	}
	return digest.OfStrings(append([]string{p.Overlaps}, all...)...)
}
