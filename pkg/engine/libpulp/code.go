package libpulp

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Code is an answer of libpulp.so, or what its tool says in the same situation: below 256 an errno.
// It is an error, to be asked for with errors.Is; all errors of this package that concern a patch
// wrap one.
type Code int

// The codes that a caller decides by. ErrAgain is the one for which it lets the process run and
// tries again.
const (
	// inside malloc or the dynamic loader, or not yet initialized
	ErrAgain         Code = Code(unix.EAGAIN)
	ErrUnknown       Code = 256
	ErrBuildID       Code = 257 // the target is there, as another build
	ErrNotLoaded     Code = 263 // no libpulp.so in the process
	ErrInvalid       Code = 266 // the metadata are malformed
	ErrNoOldFunction Code = 267
	ErrNoNewFunction Code = 268
	ErrNoMetadata    Code = 269
	ErrState         Code = 270
	ErrNotApplied    Code = 272
	ErrDependency    Code = 273
	ErrAddress       Code = 274
	ErrApplied       Code = 275 // already
	ErrNoTarget      Code = 276 // the target is not loaded
	ErrNotPatchable  Code = 278 // a function is not
	ErrBlocked       Code = 280 // the user disabled live patching in the process
	ErrOldLibpulp    Code = 281 // libpulp.so lacks what is needed
	ErrNoPatches     Code = 284
	ErrQueue         Code = 285 // the instruction queue is not as it should be
	ErrOldTool       Code = 286 // the queue is of a version that is not known
	ErrDlopen        Code = 287 // the process could not load the container
)

// texts are those that libpulp's users look for in its output.
var texts = [...]string{
	"Unknown error", "Build ID mismatch", "Error attaching to process", "Process without debug tag",
	"No link map in object",
	"Invalid program header", "Unable to find process entry address",
	"Libpulp not found in target process",
	"Thread attach failure", "Thread dettach failure", "Invalid .ulp file",
	"To be patched function not found",
	"New function not found", "No metadata in .so", "State update failure",
	"Unable to retrieve ulp state",
	"Patch not applied", "Dependency failure", "Address read error", "Patch already applied",
	"Target library not loaded",
	"libpulp.so hook routine not run", "Function is not livepatchable", "No file matched wildcard",
	"Livepatching blocked by user request", "Libpulp version is too old",
	"Libpulp initialization failure",
	"Page permission error", "No patches installed", "Instruction queue in inconsistent state",
	"ULP tool is too old",
	"Failure in dlopen", "Libdl not found", "Libc not found or unsupported",
}

// Error returns the text that libpulp has for the code.
func (c Code) Error() string {
	switch i := int(c) - int(ErrUnknown); {
	case i >= 0 && i < len(texts):
		return texts[i]
	case c > 0 && c < ErrUnknown:
		return unix.Errno(c).Error()
	}
	return fmt.Sprintf("Unknown error %d", int(c))
}

// Errors beside the codes, for errors.Is.
var (
	// ErrChanged: the process is not any more as it was when the plan was made. Nothing was done;
	// plan again.
	ErrChanged = errors.New("the process changed since the plan was made")
	// ErrRefused: libpulp.so asked for a write that the patch is not entitled to. Nothing was
	// written.
	ErrRefused = errors.New("libpulp.so asks for more than the patch needs")
	// ErrUnfinished: the context ended while libpulp.so worked, or the engine failed to put
	// something back. The process runs; what is missing is in its queue, and the next Session.Do
	// finishes it.
	ErrUnfinished = errors.New("not finished")
	// ErrMalformed: the interface of libpulp.so, or what stands in its memory, is not what it
	// should be.
	ErrMalformed = errors.New("malformed")
)

// Error is an error that concerns a patch or libpulp.so in one process.
type Error struct {
	Code Code // what libpulp's tool says in this situation
	// what and where; "" if the code says it all. Names of the process in it are quoted
	Detail string
	Err    error // the cause, or one of the errors above; nil if there is none
}

// Error returns "TEXT OF THE CODE: DETAIL: CAUSE".
func (e *Error) Error() string {
	s := e.Code.Error()
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the code and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Code}
	}
	return []error{e.Code, e.Err}
}

// verdict makes an Error of a code.
func verdict(c Code, format string, args ...any) error {
	return &Error{Code: c, Detail: fmt.Sprintf(format, args...)}
}

// fault makes an Error of a code and a cause.
func fault(c Code, err error, format string, args ...any) error {
	return &Error{Code: c, Err: err, Detail: fmt.Sprintf(format, args...)}
}
