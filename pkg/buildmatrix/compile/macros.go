package compile

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/download"
)

// Macros through which a source can ask for which build it is compiled. A source that uses none of
// them is compiled once for all builds.
//
//	LPBUILD_VERSION        "2.31"            the build's version, a string
//	LPBUILD_RELEASE        "150300.26.5"     its release, a string
//	LPBUILD_VERSION_MAJOR  2                 the version's first number
//	LPBUILD_VERSION_MINOR  31                its second; 0 if there is none
//	LPBUILD_VERSION_PATCH  0                 its third; 0 if there is none
//	LPBUILD_PACKAGE_NAME     "glibc-livepatches"  the live patch package, a string
//	LPBUILD_PACKAGE_VERSION  "0.3"                its version, a string
//	LPBUILD_PACKAGE_NAME_UNQUOTED     glibc-livepatches   for sources that quote it (#) themselves
//	LPBUILD_PACKAGE_VERSION_UNQUOTED  0.3
//
// For builds of the source package glibc (its gconv modules are in packages of other names),
// __GLIBC__, __GLIBC_MINOR__ and __GLIBC_PREREQ are those of the build, too, not those of the
// machine that compiles.
const (
	macroLibcMajor = "LPBUILD_LIBC_MAJOR"
	macroLibcMinor = "LPBUILD_LIBC_MINOR"
	macroMoved     = "LPBUILD_MOVED" // see olderVersions
)

// libcHeader stands before the system's <features.h>, so that __GLIBC_PREREQ asks about the library
// that is patched.
const libcHeader = `/* The version of the patched C library, not that of the compiling machine. */
#include_next <features.h>
#undef __GLIBC__
#undef __GLIBC_MINOR__
#define __GLIBC__ ` + macroLibcMajor + `
#define __GLIBC_MINOR__ ` + macroLibcMinor + `
#if defined ` + macroMoved + ` && !defined __ASSEMBLER__ && !defined LPBUILD_IS_MOVED
#define LPBUILD_IS_MOVED
__asm__ (` + macroMoved + `);
#endif
`

// versionMacros returns the macros that differ between builds, as compiler flags.
func versionMacros(b *download.Build) []string {
	n := versionNumbers(b.Version)
	flags := []string{
		"-DLPBUILD_VERSION=" + strconv.Quote(b.Version),
		"-DLPBUILD_RELEASE=" + strconv.Quote(b.Release),
		fmt.Sprintf("-DLPBUILD_VERSION_MAJOR=%d", n[0]),
		fmt.Sprintf("-DLPBUILD_VERSION_MINOR=%d", n[1]),
		fmt.Sprintf("-DLPBUILD_VERSION_PATCH=%d", n[2]),
	}
	if isLibc(b) {
		flags = append(flags, fmt.Sprintf("-D%s=%d", macroLibcMajor, n[0]),
			fmt.Sprintf("-D%s=%d", macroLibcMinor, n[1]))
	}
	return flags
}

// packageMacros returns the macros that name the live patch package, as compiler flags.
func packageMacros(c *config.Config) []string {
	return []string{"-DLPBUILD_PACKAGE_NAME=" + strconv.Quote(c.Name),
		"-DLPBUILD_PACKAGE_VERSION=" + strconv.Quote(c.Version),
		"-DLPBUILD_PACKAGE_NAME_UNQUOTED=" + c.Name, "-DLPBUILD_PACKAGE_VERSION_UNQUOTED=" +
			c.Version}
}

// isLibc reports whether a build comes from the C library's source package.
func isLibc(b *download.Build) bool { return b.Source == "glibc" }

// versionNumbers returns the first three numbers of a version.
func versionNumbers(version string) (n [3]int) {
	fields := strings.FieldsFunc(version, func(r rune) bool { return r < '0' || r > '9' })
	for i := range min(len(fields), len(n)) {
		n[i], _ = strconv.Atoi(fields[i]) // out of range: the largest int
	}
	return n
}

// asksForBuild reports whether preprocessed source (made with -dU, which prints a line for each
// macro that is used or tested) depends on the build.
func asksForBuild(preprocessed []byte) bool {
	for line := range bytes.Lines(preprocessed) {
		rest, defined := bytes.CutPrefix(line, []byte("#define "))
		if !defined {
			if rest, defined = bytes.CutPrefix(line, []byte("#undef ")); !defined {
				continue
			}
		}
		if bytes.HasPrefix(rest, []byte("LPBUILD_VERSION")) ||
			bytes.HasPrefix(rest, []byte("LPBUILD_RELEASE")) ||
			bytes.HasPrefix(rest, []byte("LPBUILD_LIBC_")) ||
			bytes.HasPrefix(rest, []byte("LPBUILD_PACKAGE_")) {
			return true
		}
	}
	return false
}
