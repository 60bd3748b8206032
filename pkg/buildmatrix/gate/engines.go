package gate

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/engine/native"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// The engines that apply containers, by the names that lpbuild trigger --engine has for them.
const (
	EnginePulp   = "pulp"   // libpulp.so, which the process has to have loaded
	EngineNative = "native" // loads the container itself, without the dynamic linker
)

// Engines returns which engines can apply a packed container in its build, and in notes why others
// cannot, or what is worth knowing.
func (s *Subject) Engines(image []byte) (able []string, notes []Reason, err error) {
	c, err := ulp.ParseContainer(image)
	if err != nil {
		return nil, nil, err
	}
	if pulp := s.notForPulp(); len(pulp) == 0 {
		able = append(able, EnginePulp)
	} else {
		notes = append(notes, pulp...)
	}
	if native := s.notForNative(c); len(native) == 0 {
		able = append(able, EngineNative)
	} else {
		notes = append(notes, native...)
	}
	lost, err := s.lostHandlers(c)
	if err != nil {
		return nil, nil, err
	}
	notes = append(append(notes, lost...), s.unknownCallers()...)
	if c.StaticTLS {
		notes = append(notes,
			Reason{Code: "static-tls", Message: "the container reaches thread-local variables by " +
				"static offsets (DF_STATIC_TLS): libpulp can load it only while the process has " +
				"static space left for them",
				Hint: "compile with -ftls-model=global-dynamic"})
	}
	return able, notes, nil
}

// notForPulp returns why libpulp cannot apply the container: it needs NOPs.
func (s *Subject) notForPulp() []Reason {
	var reasons []Reason
	for _, f := range s.Description.Functions {
		if row, ok := s.Scope.Target.Function(f.Old.Text); ok && !row.Patchable &&
			s.Scope.Target.Complete {
			reasons = append(reasons, ReasonAt("no-nops", s.at(f.Old,
				fmt.Sprintf("%q has no NOPs for a detour in this build of %s: only the native "+
					"engine replaces it", f.Old.Text, s.Scope.Target.Name), "")))
		}
	}
	return reasons
}

// notForNative returns why the native engine cannot: the engine itself says it, of the container
// and of functions.
func (s *Subject) notForNative(c *ulp.Container) []Reason {
	if c.Arch != symtab.X86_64 {
		return []Reason{{Code: "architecture", Message: "the native engine is for x86_64 only: " +
			"in other processes libpulp is needed"}}
	}
	var reasons []Reason
	_, err := native.NewPatch(c, s.Container)
	for _, err := range flat(err) {
		if e, ok := errors.AsType[*native.ContainerError](err); ok {
			reasons = append(reasons,
				Reason{Code: e.Code, Message: "the native engine cannot load the container: " +
					e.What, Hint: e.Hint})
		} else {
			reasons = append(reasons, Reason{Code: "native-engine", Message: err.Error()})
		}
	}
	for _, f := range s.Description.Functions {
		row, ok := s.Scope.Target.Function(f.Old.Text)
		why, judged := s.Scope.Target.EntryProof(row.Value)
		if ok && judged && row.Patchable && (why != "" || s.Entries != symtab.EntriesAny) {
			reasons = append(reasons,
				ReasonAt("long-nops",
					s.at(f.Old, fmt.Sprintf("the NOPs of %q in this build of %s are not those "+
						"that the native engine knows: only libpulp replaces it", f.Old.Text,
						s.Scope.Target.Name), "")))
		}
	}
	reasons = append(reasons, s.handlers()...)
	reasons = append(reasons, s.Scope.notLoaded(c)...)
	slices.SortStableFunc(reasons, func(a, b Reason) int { return strings.Compare(a.Code, b.Code) })
	return slices.CompactFunc(reasons, func(a, b Reason) bool {
		return a.Code == b.Code && a.Message == b.Message
	})
}

// handlers returns a reason for each function that handles exceptions or cancellation: they are
// expected to pass through it, and could not pass through what the native engine loads.
func (s *Subject) handlers() []Reason {
	switch {
	case s.Patch.Unwinding == ulp.UnwindingNone:
		return nil
	case !s.Scope.Target.HasHandlers():
		return []Reason{
			{Code: "handlers-unknown", Message: fmt.Sprintf("the catalogue of %s does not tell "+
				"which functions handle exceptions or cancellation: another version of lpbuild "+
				"made it, and the native engine may refuse "+
				"them", s.Scope.Target.Name), Hint: "run lpbuild download again"}}
	}
	var reasons []Reason
	for _, f := range s.Description.Functions {
		row, ok := s.Scope.Target.Function(f.Old.Text)
		hint := "if nothing passes through the replacement, say so: \"unwinding: none\" for this " +
			"patch " +
			"in lpbuild.yaml"
		if row.Patchable {
			hint = "processes that are started with libpulp.so can be patched; " + hint
		}
		if why := s.Scope.Target.Handlers(row.Value); ok && why != "" {
			reasons = append(reasons,
				ReasonAt("handlers", s.at(f.Old, fmt.Sprintf("%q cannot be replaced by the "+
					"native engine in this build of %s: %s, and the unwinder would not find its "+
					"replacement", f.Old.Text,
					s.Scope.Target.Name, why), hint)))
		}
	}
	return reasons
}

// unknownCallers returns a note if the catalogue does not tell which callers rely on registers that
// a function leaves alone.
func (s *Subject) unknownCallers() []Reason {
	if s.Scope.Target.Arch != symtab.X86_64 || s.Scope.Target.HasCallers() {
		return nil
	}
	return []Reason{{Code: "registers-unknown", Message: fmt.Sprintf("the catalogue of %s does "+
		"not tell which callers in the library rely on registers that a function leaves alone "+
		"(-fipa-ra): another version of lpbuild made it",
		s.Scope.Target.Name), Hint: "run lpbuild download again"}}
}

// lostHandlers returns a reason for each function that handles exceptions or cancellation while its
// replacement does not: with either engine, what it should clean up is left then.
func (s *Subject) lostHandlers(c *ulp.Container) ([]Reason, error) {
	if s.Patch.Unwinding == ulp.UnwindingNone {
		return nil, nil
	}
	var reasons []Reason
	for _, f := range s.Description.Functions {
		old, ok := s.Scope.Target.Function(f.Old.Text)
		if !ok || s.Scope.Target.Handlers(old.Value) == "" {
			continue
		}
		replacement, _ := c.Lookup(f.New.Text)
		switch handles, err := c.Handles(replacement.Value); {
		case err != nil:
			return nil, err
		case !handles:
			reasons = append(reasons,
				ReasonAt("lost-handlers",
					s.at(f.New, fmt.Sprintf("%q has something to clean up when an exception or "+
						"the end of its thread passes through it, %q has not: locks may stay "+
						"locked", f.Old.Text, f.New.Text),
						"in C, compile with -fexceptions, as the library was")))
		}
	}
	return reasons, nil
}

// notLoaded returns a reason if the container uses libraries that only its own DT_NEEDED brings
// into a process: the native engine loads none.
func (s *Scope) notLoaded(c *ulp.Container) []Reason {
	without := NewScope(nil, s.Target, s.own, s.others)
	var names []string
	for _, soname := range c.Needed {
		if !s.isTarget(soname) && !isLoader(soname) && !slices.Contains(without.loaded, soname) {
			names = append(names, soname)
		}
	}
	uses := slices.ContainsFunc(c.Undefined(), func(u symtab.Undefined) bool {
		problem, _ := without.symbolProblem(u)
		return !u.Weak && problem != ""
	})
	if len(names) == 0 || !uses {
		return nil
	}
	return []Reason{{
		Code: "not-loaded",
		Message: fmt.Sprintf("the container uses %s, which %s does not bring into a process: "+
			"libpulp has it loaded, the native engine does not",
			strings.Join(names, ", "), s.Target.Name),
		Hint: "copy what is needed into the source",
	}}
}

// flat returns the errors that errors.Join joined. One that wraps several in one sentence is one.
func flat(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || errors.Join(joined.Unwrap()...).Error() != err.Error() {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flat(e)...)
	}
	return all
}
