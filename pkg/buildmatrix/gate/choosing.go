package gate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/compile"
)

// choosing returns the reasons that replacements choose an implementation where they are to be one.
// Live patches that replaced the code of an indirect function have such replacements: callers of an
// implementation would take an address for its result.
func (s *Subject) choosing(ctx context.Context) ([]Reason, error) {
	// by replaced functions: which indirect function chooses them
	implementations := map[string]string{}
	for _, r := range s.Description.Functions {
		if row, ok := s.Scope.Target.Function(r.Old.Text); ok {
			if name := s.Scope.Target.Implements(row); name != "" {
				implementations[r.Old.Text] = name
			}
		}
	}
	if len(implementations) == 0 {
		return nil, nil
	}
	_, choosers, err := s.Calls(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, err
	}
	if err != nil {
		s.notes = append(s.notes, Reason{Code: "resolvers-unknown",
			Message: "whether a replacement only chooses an implementation is not known: " +
				err.Error()})
		return nil, nil
	}
	var reasons []Reason
	seen := map[string]bool{}
	for _, r := range s.Description.Functions {
		i := slices.IndexFunc(choosers, func(c compile.Chooser) bool {
			return c.Name == r.New.Text
		})
		if i < 0 || implementations[r.Old.Text] == "" || seen[r.New.Text] {
			continue
		}
		seen[r.New.Text] = true
		hint := "replace the implementation by a function that does its work"
		if returns := choosers[i].Returns; len(returns) > 0 {
			hint = fmt.Sprintf("name %s instead, which must not be static",
				strings.Join(returns, " or "))
		}
		reasons = append(reasons,
			ReasonAt("resolver", s.at(r.New, fmt.Sprintf("%q has no parameters and returns the "+
				"address of a function, as the code of the indirect function %s does, but %s is "+
				"one of the implementations: who calls it would take the address for its "+
				"result", r.New.Text, implementations[r.Old.Text],
				r.Old.Text), hint)))
	}
	return reasons, nil
}
