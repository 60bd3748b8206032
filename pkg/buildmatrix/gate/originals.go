package gate

import (
	"fmt"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// optimisedAway returns a reason for each pointer to former code that the compiler has left out.
func (s *Subject) optimisedAway() []Reason {
	var reasons []Reason
	for _, name := range s.Object.Originals {
		if len(s.Object.Container.LookupAll(name)) == 0 {
			reasons = append(reasons, Reason{Code: codeOf(ulp.ErrOriginal),
				Message: fmt.Sprintf("the compiler has left out the pointer %s, since nothing in "+
					"the source writes to it: calls of it would end the process", name),
				Hint: "define it with default visibility, without static, and outside of " +
					"namespaces"})
		}
	}
	return reasons
}
