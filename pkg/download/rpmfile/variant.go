package rpmfile

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// place is a directory in which a library's name leads to a file.
type place struct {
	target  string // the file
	dir     string
	variant variant
}

// variant tells for which processors the loader takes libraries from a directory.
type variant struct {
	root   string // the directory for all processors
	name   string // of the processors; "" in the root itself
	legacy bool   // a subdirectory as loaders before glibc 2.37 know it, not one of glibc-hwcaps
}

// hwcaps is the directory in which glibc since 2.33 looks for variants.
const hwcaps = "glibc-hwcaps"

// legacyVariants are the subdirectories that glibc up to 2.36 searches, possibly nested.
var legacyVariants = func() map[string]bool {
	known := map[string]bool{}
	for name := range strings.FieldsSeq(`tls nosegneg atomics neon vfp
		i386 i486 i586 i686 sse2 x86_64 haswell xeon_phi avx512_1
		power4 power5 power5+ power6 power6x power7 power8 power9 power10 ppc970 ppc-cell-be ppca2
		z900 z990 z9-109 z10 z196 zEC12 z13 z14 z15 z16`) {
		known[name] = true
	}
	return known
}()

// variantOf tells which variant dir holds.
func variantOf(dir string) variant {
	if parent := path.Dir(dir); path.Base(parent) == hwcaps {
		return variant{root: path.Dir(parent), name: path.Base(dir)}
	}
	root, names := dir, []string{}
	for legacyVariants[path.Base(root)] {
		names = append([]string{path.Base(root)}, names...)
		root = path.Dir(root)
	}
	return variant{root, strings.Join(names, "."), len(names) > 0}
}

// roots are the directories that the dynamic loader searches, without /usr, in order.
var roots = []string{"/lib64", "/lib"}

// choose returns the files that name refers to: the one for all processors, then those of
// glibc-hwcaps, then those of old subdirectories.
func choose(name string, places []place) ([]Located, error) {
	for i := range places {
		places[i].variant.root = withoutUsr(places[i].variant.root)
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(compareBool(a.variant.legacy, b.variant.legacy),
			strings.Compare(a.variant.name, b.variant.name),
			len(a.dir)-len(b.dir), strings.Compare(a.dir, b.dir)) // /lib64 before /usr/lib64
	})
	for _, root := range roots {
		if there := in(places, root); len(there) > 0 {
			return variants(there), nil
		}
	}
	if first := in(places, places[0].variant.root); len(first) == len(places) || oneTarget(places) {
		return variants(places), nil
	}
	var paths []string
	for _, p := range places {
		paths = append(paths, p.target)
	}
	slices.Sort(paths)
	return nil, &AmbiguousError{name, slices.Compact(paths)}
}

// variants returns each file once, and one for each variant. If a variant has one file for new
// loaders and another for old ones, both are returned, since the loader decides.
func variants(places []place) []Located {
	var found []Located
	files, names, legacy := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, p := range places {
		v := p.variant
		known, old := names[v.name], legacy[v.name]
		names[v.name], legacy[v.name] = true, old || v.legacy
		switch {
		case files[p.target]: // there under another name
			continue
		case !known:
			found = append(found, Located{p.target, v.name})
		case v.legacy && !old:
			found = append(found, Located{p.target, "legacy." + v.name})
		default:
			continue // on the other side of the merge of / and /usr
		}
		files[p.target] = true
	}
	return found
}

func in(places []place, root string) []place {
	return slices.DeleteFunc(slices.Clone(places), func(p place) bool {
		return p.variant.root != root
	})
}

func oneTarget(places []place) bool {
	return !slices.ContainsFunc(places, func(p place) bool { return p.target != places[0].target })
}

// withoutUsr reduces the two names of a library directory to one.
func withoutUsr(dir string) string {
	if strings.HasPrefix(dir, "/usr/lib") {
		return strings.TrimPrefix(dir, "/usr")
	}
	return dir
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
