package abi

import (
	"errors"
	"fmt"
)

// Reasons for which there are no facts. They are not verdicts about a library: the library was not
// checked.
var (
	ErrNone   = errors.New("no debugging information")
	ErrSplit  = errors.New("split DWARF: the types are in .dwo files, which are not packaged")
	errObject = errors.New("an object file, not a linked library")
	errLimit  = errors.New("more than lpbuild reads")
)

// FormatError reports damaged debugging information.
type FormatError struct {
	Part string
	Err  error
}

func (e *FormatError) Error() string { return fmt.Sprintf("%s: %v", e.Part, e.Err) }

// Unwrap returns the cause.
func (e *FormatError) Unwrap() error { return e.Err }

// BuildIDError reports debugging information of another build.
type BuildIDError struct{ Want, Got string }

func (e *BuildIDError) Error() string {
	return fmt.Sprintf("debuginfo of another build: build-id %s instead of %s", e.Got, e.Want)
}

// AltError reports that the supplementary file that dwz made cannot be used.
type AltError struct {
	Name, BuildID string
	Err           error
}

func (e *AltError) Error() string {
	s := fmt.Sprintf("supplementary debuginfo %s (build-id %s)", e.Name, e.BuildID)
	if e.Err == nil {
		return s + " is needed"
	}
	return fmt.Sprintf("%s: %v", s, e.Err)
}

// Unwrap returns the cause.
func (e *AltError) Unwrap() error { return e.Err }
