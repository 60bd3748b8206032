package gate

import (
	"context"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/compile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Subject is a compiled live patch and the build in which it is to work.
type Subject struct {
	Patch       *config.Patch
	Arch        symtab.Arch
	Container   string // the container's file name
	Description *ulp.Description
	Template    []byte // the description as it was written
	Entries     symtab.Entries
	Object      *compile.Object
	// Calls returns what the functions of the object use. It is asked only if it matters, since
	// that may take a run of the compiler.
	Calls func(context.Context) (compile.CallGraph, []compile.Chooser, error)
	Scope *Scope

	notes []Reason
}

// Findings is what the gate found.
type Findings struct {
	Reasons  []Reason // why the live patch cannot work
	Accepted []Reason // what would be reasons if the patch did not accept them
	Notes    []Reason // what could not be checked
}

// Check looks for every reason why a live patch cannot work in its build, whichever engine is to
// apply it. If there is none, everything that the catalogue can tell says that one will: see
// [Subject.Engines].
func (s *Subject) Check(ctx context.Context) (*Findings, error) {
	s.notes = nil
	c := s.Object.Container
	reasons := ReasonsOf(ulp.Check(s.Description, c, s.Scope.Target, s.Entries))
	var accepted []Reason
	if s.Patch.Clones != "" {
		isClone := func(r Reason) bool { return r.Code == codeOf(ulp.ErrClone) }
		accepted = acceptedAs(s.Patch.Clones, slices.DeleteFunc(slices.Clone(reasons),
			func(r Reason) bool { return !isClone(r) }))
		reasons = slices.DeleteFunc(reasons, isClone)
	}
	recursive, taken, err := s.recursive(ctx)
	if err != nil {
		return nil, err
	}
	choosing, err := s.choosing(ctx)
	if err != nil {
		return nil, err
	}
	return &Findings{
		Reasons: slices.Concat(reasons, s.optimisedAway(), unloadable(c), s.Scope.strangers(c),
			s.Scope.missing(c), recursive, choosing),
		Accepted: append(accepted, taken...),
		Notes:    s.notes,
	}, nil
}

// at returns a finding about a name of the description.
func (s *Subject) at(n ulp.Name, message, hint string) *diag.Diagnostic {
	return At(s.Template, n, message, hint)
}
