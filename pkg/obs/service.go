package obs

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/spec"
)

const (
	multibuildName  = "_multibuild"
	constraintsName = "_constraints"
)

// mark identifies files that lpbuild, and not a person, made for the service.
const mark = "<!-- Written by lpbuild dist: it will be written again. -->\n"

func isGenerated(text []byte) bool { return bytes.HasPrefix(text, []byte(mark)) }

// multibuild returns the file that makes the service build a package once for each group of builds,
// on as many workers as it has; nil if one group is enough.
func multibuild(groups int) []byte {
	flavors := spec.Flavors(groups)
	if flavors == nil {
		return nil
	}
	var b strings.Builder
	b.WriteString(mark + "<multibuild>\n")
	for _, f := range flavors {
		fmt.Fprintf(&b, "  <flavor>%s</flavor>\n", f.Name())
	}
	b.WriteString("</multibuild>\n")
	return []byte(b.String())
}

// The needs of a worker: a build root with a compiler and, for each build, its catalogue, read and
// unpacked, and its live patches. Workers without constraints have at least common.
const (
	baseMemory, commonMemory = 1024, 2048 // MiB
	baseDisk, commonDisk     = 3072, 4096 // MiB
	buildMemory, buildDisk   = 8, 12      // MiB for each build
)

// constraints returns the file that keeps a package off workers that are too small for it; nil if
// any will do.
func constraints(builds int) []byte {
	memory, disk := baseMemory+builds*buildMemory, baseDisk+builds*buildDisk
	if memory <= commonMemory && disk <= commonDisk {
		return nil
	}
	return fmt.Appendf(nil, mark+`<constraints>
  <hardware>
    <memory>
      <size unit="M">%d</size>
    </memory>
    <disk>
      <size unit="M">%d</size>
    </disk>
  </hardware>
</constraints>
`, max(memory, commonMemory), max(disk, commonDisk))
}
