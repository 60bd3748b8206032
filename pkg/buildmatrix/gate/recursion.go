package gate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// recursive returns the reasons that replacements call what they replace: such a call comes back to
// the replacement, again and again until the stack is full. Compilers make such calls, too, as that
// of memset out of a loop.
//
// A replacement that takes the address of what it replaces may call that, too, or skip the detour,
// as some do. That cannot be known, so it is a reason as well, which the patch can accept.
func (s *Subject) recursive(ctx context.Context) (reasons, accepted []Reason, err error) {
	// by names that are used elsewhere and lead to a replacement
	back := map[string]ulp.Replacement{}
	for _, u := range s.Object.Container.Undefined() {
		for _, r := range s.Description.Functions {
			if leadsTo(s.Scope.Target, u.Name, r.Old.Text) {
				back[u.Name] = r
				break
			}
		}
	}
	if len(back) == 0 {
		return nil, nil, nil // as usual
	}
	calls, _, err := s.Calls(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, nil, err
	}
	if err != nil {
		s.notes = append(s.notes, Reason{Code: "calls-unknown",
			Message: "whether a replacement calls what it replaces is not known: " + err.Error()})
		return nil, nil, nil
	}
	for name, r := range back { // what calls it comes to the replacement
		calls = calls.With(name, r.New.Text)
	}
	var taken []Reason // reasons that the patch can accept
	seen := map[string]bool{}
	for _, r := range s.Description.Functions {
		if seen[r.New.Text] {
			continue // a pattern
		}
		seen[r.New.Text] = true
		comesBack := func(name string) bool {
			b, ok := back[name]
			return ok && b.New.Text == r.New.Text
		}
		called := func(name string, address bool) bool {
			_, ok := back[name]
			return !ok || !address
		}
		if chain := calls.Chain(r.New.Text, comesBack, called); chain != nil {
			reasons = append(reasons,
				ReasonAt("recursion", s.at(r.New, fmt.Sprintf("%q calls the function that it "+
					"replaces, which leads back to it: %s → %s", r.New.Text,
					strings.Join(visible(chain), " → "), r.New.Text),
					s.recursionHint(r, chain[len(chain)-1]))))
			continue
		}
		if chain := calls.Chain(r.New.Text, comesBack, func(string, bool) bool {
			return true
		}); chain != nil {
			hint := "if it skips the detour, or calls nothing by the address, say so: recursion: " +
				"{accept: \"...\"} of the patch in lpbuild.yaml"
			if pointer := s.pointerTo(r); pointer != "" {
				hint = fmt.Sprintf("to call the former code, define a pointer %s (see lpbuild "+
					"build --help) and call that; %s", pointer, hint)
			}
			taken = append(taken,
				ReasonAt("recursion",
					s.at(r.New, fmt.Sprintf(
						"%q takes the address of the function that it replaces, and a call by "+
							"that would lead back to it: %s → %s", r.New.Text,
						strings.Join(visible(chain), " → "), r.New.Text), hint)))
		}
	}
	if s.Patch.Recursion != "" {
		return reasons, acceptedAs(s.Patch.Recursion, taken), nil
	}
	return append(reasons, taken...), nil, nil
}

// recursionHint says what a replacement can do that comes back to itself by the function called.
func (s *Subject) recursionHint(r ulp.Replacement, called string) string {
	if strings.HasPrefix(called, "mem") {
		return fmt.Sprintf("if no source calls %s, the compiler makes that of a loop: "+
			"-fno-builtin and -fno-tree-loop-distribute-patterns in \"cflags\" keep it from "+
			"that", called)
	}
	hint := fmt.Sprintf("do the work without %s", called)
	if pointer := s.pointerTo(r); pointer != "" {
		hint = fmt.Sprintf("to call the former code, define a pointer %s (see lpbuild build "+
			"--help) and call that", pointer)
	}
	return hint + "; a replacement that is meant to call itself calls " + r.New.Text
}

// pointerTo returns the name of the pointer to the former code of a function, "" if a replacement
// is that of several functions or no engine would fill the pointer in.
func (s *Subject) pointerTo(r ulp.Replacement) string {
	of := 0
	for _, f := range s.Description.Functions {
		if f.New.Text == r.New.Text {
			of++
		}
	}
	base, _ := symtab.SplitVersion(r.Old.Text)
	if of > 1 || s.Arch != symtab.X86_64 || strings.ContainsAny(base, "./") {
		return ""
	}
	return ulp.OriginalPrefix + base
}

// visible leaves out of a chain what has no name of its own.
func visible(chain []string) []string {
	return slices.DeleteFunc(slices.Clone(chain), func(name string) bool {
		return strings.HasPrefix(name, ulp.SectionUser)
	})
}

// leadsTo reports whether a call of a name leads to a function of the library: it is another name
// of that, or an indirect function of which that is an implementation.
func leadsTo(lib *symtab.Library, name, old string) bool {
	base, _ := symtab.SplitVersion(old)
	if name == base {
		return true
	}
	replaced, ok := lib.Function(old)
	if !ok {
		return false
	}
	for _, s := range lib.LookupAll(name) {
		switch {
		case s.Undefined:
		case s.IsIndirect():
			if strings.HasPrefix(base, "__"+strings.TrimLeft(name, "_")+"_") {
				return true
			}
		case s.Value == replaced.Value:
			return true
		}
	}
	return false
}
