package gadgets

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// cache remembers where they are in each build of a library, for all processes.
var cache tracer.GadgetCache

// Find searches the code of libraries in mem, the memory of their process, beginning with libc, and
// returns the gadgets of the first library for which enough returns true. The error wraps
// [tracer.ErrGadget], or is that of reading.
func Find(mem io.ReaderAt, libs []*rtld.Library, enough func(*tracer.Gadgets) bool) (tracer.Gadgets,
	error) {
	libs = slices.Clone(libs)
	slices.SortStableFunc(libs, func(a, b *rtld.Library) int { return rank(a) - rank(b) })
	var first error
	for _, l := range libs {
		g, err := cache.Find(mem, l.BuildID, l.Bias, code(l))
		if err == nil && enough(&g) {
			return g, nil
		}
		first = cmp.Or(first, err)
	}
	return tracer.Gadgets{}, cmp.Or(first, fmt.Errorf("in %d libraries: %w", len(libs),
		tracer.ErrGadget))
}

// rank is lower for libc: nearly all processes have it, and it has all gadgets.
func rank(l *rtld.Library) int {
	if l.SONAME == "libc.so.6" {
		return 0
	}
	return 1
}

// code returns the executable memory of a library, but for what the process may write.
func code(l *rtld.Library) []tracer.Range {
	var list []tracer.Range
	for _, s := range l.Segments {
		if s.Perm&rtld.PermExec != 0 && s.Perm&rtld.PermWrite == 0 {
			list = append(list, tracer.Range{Start: s.Start, End: s.End})
		}
	}
	return list
}
