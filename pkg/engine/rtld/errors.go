package rtld

import (
	"errors"
	"fmt"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// Why something is not known. Ask for them with errors.Is.
var (
	// ErrUnreadable means memory that is not mapped, or whose file was cut off below it.
	ErrUnreadable = procfs.ErrUnreadable
	// ErrMalformed means that memory breaks the rules of its format.
	ErrMalformed = procfs.ErrMalformed
	// ErrLimit means that there is more of it than a process in its right mind has.
	ErrLimit = procfs.ErrLimit
)

// malformed returns an ErrMalformed with the reason.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// Local reports whether an error is about one image, or one structure, and not about the whole process.
func Local(err error) bool {
	return errors.Is(err, ErrMalformed) || errors.Is(err, ErrUnreadable) || errors.Is(err, ErrLimit)
}
