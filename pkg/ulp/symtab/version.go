package symtab

import (
	"slices"
	"strings"
)

// SplitVersion splits a name at its symbol version: "bar@V1", or "bar@@V2" where V2 has to be the
// default version, into "bar" and the version. Without a version it returns the name and "".
func SplitVersion(name string) (base, version string) {
	base, version, _ = strings.Cut(name, "@")
	if version = strings.TrimPrefix(version, "@"); base == "" || version == "" {
		return name, ""
	}
	return base, version
}

// Qualified returns the name with its version, as readelf prints it: bar@V1, or bar@@V2 for the
// default version.
func (s Symbol) Qualified() string {
	switch {
	case s.Version == "" || strings.Contains(s.Name, "@"):
		return s.Name
	case s.Default:
		return s.Name + "@@" + s.Version
	}
	return s.Name + "@" + s.Version
}

// Versions returns the rows that a name stands for, undefined ones too. One with a version means
// rows of .dynsym, which are there in a stripped library as well, and those that the linker has
// named like that in .symtab.
func (l *Library) Versions(name string) []Symbol {
	if place, base := SplitPlace(name); place != "" {
		return l.placed(place, base)
	}
	base, version := SplitVersion(name)
	if version == "" {
		return l.LookupAll(name)
	}
	isDefault := strings.Contains(name, "@@")
	rows := slices.DeleteFunc(l.LookupAll(base), func(s Symbol) bool {
		return s.Version != version || isDefault && !s.Default
	})
	rows = append(rows, l.LookupAll(name)...)
	if !isDefault {
		rows = append(rows, l.LookupAll(base+"@@"+version)...)
	}
	return rows
}

// VersionNames returns the names with versions of the rows that are defined.
func VersionNames(rows []Symbol) []string {
	var names []string
	for _, s := range rows {
		if s.Version != "" && !s.Undefined {
			names = append(names, s.Qualified())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// SplitNumber splits a symbol version: "GLIBC_2.34" into "GLIBC" and "2.34". A version without a
// number has an empty one.
func SplitNumber(version string) (series, number string) {
	i := strings.LastIndexByte(version, '_')
	if i < 0 || i+1 == len(version) || version[i+1] < '0' || version[i+1] > '9' {
		return version, ""
	}
	return version[:i], version[i+1:]
}
