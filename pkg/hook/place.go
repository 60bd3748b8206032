package hook

import (
	"errors"
	"os"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// place is the reason why nothing is to be done in this environment, or "".
type place string

const (
	buildRoot   place = "a build root: no process is touched"
	noProc      place = "no /proc: no process can be seen"
	foreignProc place = "/proc shows the processes of another PID namespace: no process is touched"
)

// where examines the environment of this process.
func (r *Request) where() place {
	if _, err := os.Lstat(r.path(".buildenv")); err == nil {
		return buildRoot
	}
	switch err := (process.Options{Root: r.Proc}).CheckProc(); {
	case errors.Is(err, process.ErrForeignProc):
		return foreignProc
	case errors.Is(err, process.ErrNoProc):
		return noProc
	case err != nil:
		return place(err.Error())
	}
	return ""
}
