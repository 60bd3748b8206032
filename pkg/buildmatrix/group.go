package buildmatrix

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"

	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// maxGroups is far beyond what anybody has workers for.
const maxGroups = 1000

// Group is a part of the matrix: the builds of each architecture, in their order, in N parts of
// about the same size, of which this is the K-th (from 1). The zero value is everything. All
// patches of a build are in one group, so that what cannot work together is seen.
type Group struct{ K, N int }

// ParseGroup reads "K/N".
func ParseGroup(s string) (Group, error) {
	k, n, ok := strings.Cut(s, "/")
	var g Group
	var err, err2 error
	g.K, err = strconv.Atoi(k)
	g.N, err2 = strconv.Atoi(n)
	if !ok || err != nil || err2 != nil || g.K < 1 || g.K > g.N || g.N > maxGroups {
		return Group{}, fmt.Errorf("%q is not a group: write for example 2/4 for the second of "+
			"four", s)
	}
	return g, nil
}

// String returns the form that [ParseGroup] reads, "" for everything.
func (g Group) String() string {
	if g == (Group{}) {
		return ""
	}
	return fmt.Sprintf("%d/%d", g.K, g.N)
}

// Cells returns the cells of the group.
func (g Group) Cells(cells []Cell) []Cell {
	if g == (Group{}) {
		return cells
	}
	wanted := map[*download.Build]bool{}
	for _, builds := range buildsOf(cells) {
		for _, b := range builds[(g.K-1)*len(builds)/g.N : g.K*len(builds)/g.N] {
			wanted[b] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(cells), func(c Cell) bool { return !wanted[c.Build] })
}

// Groups returns in how many groups a matrix is best built if each is to have no more than size
// builds, and the most builds that one has. Every group has builds of every architecture, whatever
// the size.
func Groups(cells []Cell, size int) (n, most int) {
	least := maxGroups
	for _, builds := range buildsOf(cells) {
		most, least = max(most, len(builds)), min(least, len(builds))
	}
	if size <= 0 || most <= size {
		return 1, most
	}
	n = max(1, min(least, (most+size-1)/size))
	return n, (most + n - 1) / n
}

// buildsOf returns the builds of a matrix by architecture, in the order of the lock.
func buildsOf(cells []Cell) map[symtab.Arch][]*download.Build {
	all := map[symtab.Arch][]*download.Build{}
	seen := map[*download.Build]bool{}
	for _, c := range cells {
		if !seen[c.Build] {
			seen[c.Build] = true
			all[c.Arch] = append(all[c.Arch], c.Build)
		}
	}
	return all
}

// Flavors returns in how many groups the service builds a package, and the most builds that one
// has.
func Flavors(c *config.Config, l *download.Lock) (n, most int) {
	return Groups(Cells(c, l), cmp.Or(c.OBS.FlavorBuilds, config.DefaultFlavorBuilds))
}
