package symtab

import (
	"errors"
	"fmt"

	"github.com/lpbuild/lpbuild/internal/elfx"
)

// ErrUnsupported means that a file is well-formed, as far as it was read, but of a kind that this
// package does not handle: not 64-bit little-endian ELF, another architecture, without section
// table, or with 65,280 sections or more.
var ErrUnsupported = elfx.ErrUnsupported

// FormatError tells where a file breaks the rules of its format.
type FormatError struct {
	Off  int64  // offset in the file, in bytes
	What string // the field or structure at Off
	Err  error  // what is wrong with it
}

// Error returns "WHAT at OFFSET: REASON".
func (e *FormatError) Error() string { return fmt.Sprintf("%s at %#x: %v", e.What, e.Off, e.Err) }

// Unwrap returns the reason.
func (e *FormatError) Unwrap() error { return e.Err }

// AsFormatError turns the ELF reader's error into ours.
func AsFormatError(err error) error {
	if e, ok := errors.AsType[*elfx.Error](err); ok {
		return &FormatError{Off: e.Off, What: e.What, Err: e.Err}
	}
	return err
}

// BuildIDError says that a separate debuginfo file was made for another build of the library than
// the one at hand, so that the addresses in it would be wrong.
type BuildIDError struct {
	Library   []byte // build-id of the library; nil if it has none
	Debuginfo []byte // build-id of the debuginfo file; nil if it has none
}

// Error names both build-ids.
func (e *BuildIDError) Error() string {
	if len(e.Library) == 0 || len(e.Debuginfo) == 0 {
		return fmt.Sprintf("library (build-id %s) and debuginfo (build-id %s) cannot be matched: "+
			"both need a build-id",
			HexOrNone(e.Library), HexOrNone(e.Debuginfo))
	}
	return fmt.Sprintf("debuginfo is for build-id %x, but the library is %x: take the one of the "+
		"same package version",
		e.Debuginfo, e.Library)
}

// HexOrNone returns a build-id as text, "none" for no build-id.
func HexOrNone(id []byte) string {
	if len(id) == 0 {
		return "none"
	}
	return fmt.Sprintf("%x", id)
}
