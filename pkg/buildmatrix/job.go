package buildmatrix

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/internal/atomicfile"
	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/compile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/gate"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/progress"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// job is a cell on its way through the stages.
type job struct {
	Cell
	info        *CellInfo
	template    []byte // the description as it was written
	description *ulp.Description
	text        []byte // of the expanded description
	entries     symtab.Entries
	objects     *compile.Objects
	object      *compile.Object
	shadowed    []gate.Reason // that other patches replace the same functions
	overlaps    []gate.Reason // the same, where all of them accept it
}

func newJobs(cells []Cell) []*job {
	jobs := make([]*job, len(cells))
	for i, c := range cells {
		jobs[i] = &job{Cell: c, info: &CellInfo{
			Status: Built, Patch: c.Patch.Description, Library: c.Patch.Library,
			Package: c.Build.Name,
			Version: c.Build.Version, Release: c.Build.Release, Arch: string(c.Arch),
			Variant: c.variant(), Target: c.Library.BuildID,
		}}
	}
	return jobs
}

func (j *job) refuse(s Status, reasons ...gate.Reason) {
	j.info.Status, j.info.Container, j.info.Reasons = s, "", append(j.info.Reasons, reasons...)
}

// compilerPlace matches the place in the first error that a compiler prints.
var compilerPlace = lazyregexp.New(`(?m)^([^\s:]+:\d+(?::\d+)?): (?:fatal )?error: `)

// refuseUncompiled notes why there is no object, if the patch is the cause.
func (j *job) refuseUncompiled(err error) bool {
	var failed *compile.Error
	var input *compile.InputError
	switch {
	case errors.As(err, &input):
		j.refuse(Refused, gate.ReasonAt("outside-file", input.Finding))
	case errors.As(err, &failed):
		reason := gate.Reason{Code: "compiler", Message: err.Error(), Shown: err.Error() + "\n"}
		if place := compilerPlace().FindStringSubmatch(failed.Output); place != nil {
			reason.Where = place[1]
		}
		j.refuse(Failed, reason)
	default:
		return false
	}
	return true
}

// warnings returns what the compiler said about the object, as a note.
func (j *job) warnings() []gate.Reason {
	if j.object.Warnings == "" {
		return nil
	}
	return []gate.Reason{{Code: "compiler-warning", Message: "the compiler warns:\n" +
		j.object.Warnings, Hint: "\"cflags\" can switch a warning off (-Wno-NAME)"}}
}

// prepare expands the description and checks the container's name.
func (m *matrix) prepare(_ context.Context, j *job) error { return m.expand(j) }

func (m *matrix) expand(j *job) error {
	name := m.config.File(j.Patch.Description)
	var err error
	if j.template, err = regularfile.Read(name, config.MaxConfig); err != nil {
		return err
	}
	template, err := ulp.ParseDescription(name, j.template)
	if err != nil {
		j.refuse(Refused, gate.ReasonsOf(err)...)
		return nil
	}
	lib, err := m.library(j.Library)
	if err != nil {
		return err
	}
	if j.entries = m.config.Entries; j.entries == symtab.EntriesAny && lib.Arch == symtab.X86_64 &&
		!lib.HasProofs() {
		return fmt.Errorf("%s: %w", m.config.File(j.Library.Catalogue), ErrNoProofs)
	}
	if j.description, err = template.Expand(j.expansion(), lib); err != nil {
		j.refuse(Refused, gate.ReasonsOf(err)...)
		return nil
	}
	j.description.Container.Text = j.containerName(j.description.Container.Text)
	if problem := j.nameProblem(); problem != nil {
		j.refuse(Refused, *problem)
		return nil
	}
	j.text = []byte(j.description.String())
	j.info.Container = j.description.Container.Text
	for _, f := range j.description.Functions {
		j.info.Functions = append(j.info.Functions, f.Old.Text)
	}
	exported := ""
	if j.Build.Exports != nil {
		exported = j.Build.Exports.Digest.String()
	}
	j.info.Notes = append(j.info.Notes, patternNotes(template, j.description)...)
	j.info.Key = digest.OfStrings(gateVersion, j.info.Arch, j.object.Digest, string(j.text),
		j.Library.Pinned.String(), exported, m.othersKey(j), string(j.entries),
		string(j.Patch.Unwinding), j.Patch.Clones, j.Patch.Recursion, m.overlapsKey(j.Patch))
	return nil
}

// patternNotes tells what each pattern of a template stands for.
func patternNotes(template, d *ulp.Description) []gate.Reason {
	var notes []gate.Reason
	for _, r := range template.Functions {
		var names []string
		for _, f := range d.Functions {
			if f.Old.Pos == r.Old.Pos && f.Old.Text != r.Old.Text {
				names = append(names, f.Old.Text)
			}
		}
		if len(names) > 0 {
			notes = append(notes, gate.Reason{Code: "pattern", Where: r.Old.Pos.String(),
				Message: fmt.Sprintf("%s stands for %s", r.Old.Text, strings.Join(names, ", "))})
		}
	}
	return notes
}

// ErrNoProofs means that a catalogue does not tell which functions can be replaced without NOPs.
var ErrNoProofs = errors.New("it does not tell which functions can be replaced without NOPs " +
	"(entries: any): another version of lpbuild made it: run lpbuild download again")

// gateVersion changes when the same cell could be judged or packed in another way than before.
const gateVersion = "10"

// finish gates and packs a cell. That takes a millisecond and is never skipped, so that no verdict
// outlives what it was made from; a container that is already there with these bytes is not written
// again.
func (m *matrix) finish(ctx context.Context, j *job) error {
	target := filepath.Join(m.dir, j.info.Arch, j.info.Container)
	s, err := m.scope(j)
	if err != nil {
		return err
	}
	subject := &gate.Subject{Patch: j.Patch, Arch: j.Arch, Container: j.info.Container,
		Description: j.description, Template: j.template, Entries: j.entries, Object: j.object,
		Calls: func(ctx context.Context) (compile.CallGraph, []compile.Chooser, error) {
			return j.objects.Calls(ctx, j.Build, j.object)
		}, Scope: s}
	found, err := subject.Check(ctx)
	if err != nil {
		return err
	}
	if reasons := slices.Concat(j.shadowed, found.Reasons); len(reasons) > 0 {
		j.info.Notes = append(j.info.Notes, found.Notes...)
		j.refuse(Refused, reasons...)
		return nil
	}
	image, err := ulp.Pack(j.description, j.text, j.object.Container, s.Target,
		ulp.PackOptions{AllComments: true, Entries: j.entries, Unwinding: j.Patch.Unwinding,
			AcceptClones: j.Patch.Clones != ""})
	if err != nil {
		j.refuse(Refused, gate.ReasonsOf(err)...)
		return nil
	}
	able, notes, err := subject.Engines(image)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", j.info.Container, err)
	case len(able) == 0:
		j.refuse(Refused, notes...)
		return nil
	}
	j.info.Engines, j.info.Notes = able, slices.Concat(j.warnings(), found.Accepted,
		j.overlaps, j.info.Notes, found.Notes, notes)
	j.info.Digest = digest.OfBytes(image)
	if d, err := digest.OfFile(target); err == nil && d == j.info.Digest {
		return nil
	}
	j.info.Fresh = true
	m.Progress.Emit(progress.Event{Stage: "pack", Task: j.info.Container, Final: true})
	return atomicfile.Write(target, image, 0o755)
}
