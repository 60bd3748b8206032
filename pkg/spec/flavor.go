package spec

import "fmt"

// Flavor is a part of the package that the build service builds separately: group K of N of its
// builds.
type Flavor struct{ K, N int }

// Name is the service's name for it.
func (f Flavor) Name() string { return fmt.Sprintf("group%dof%d", f.K, f.N) }

// Group is the argument of "lpbuild build --group" for it.
func (f Flavor) Group() string { return fmt.Sprintf("%d/%d", f.K, f.N) }

// Flavors returns the flavors of a package with that many groups; a package that is built as a
// whole has none.
func Flavors(groups int) []Flavor {
	var all []Flavor
	for k := 1; groups > 1 && k <= groups; k++ {
		all = append(all, Flavor{k, groups})
	}
	return all
}
