package spec

import "fmt"

// Flavor is a part of the package that the build service builds by itself: the group K of N of its builds.
type Flavor struct{ K, N int }

// Name is what the service calls it.
func (f Flavor) Name() string { return fmt.Sprintf("group%dof%d", f.K, f.N) }

// Group is what "lpbuild build --group" calls it.
func (f Flavor) Group() string { return fmt.Sprintf("%d/%d", f.K, f.N) }

// Flavors returns those of a package in that many groups; a package that is built as a whole has none.
func Flavors(groups int) []Flavor {
	var all []Flavor
	for k := 1; groups > 1 && k <= groups; k++ {
		all = append(all, Flavor{k, groups})
	}
	return all
}

// Flavors returns the package's.
func (p Package) Flavors() []Flavor { return Flavors(p.Groups) }
