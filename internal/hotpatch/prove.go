// Package hotpatch says where x86_64 code can be led elsewhere: at which functions there are NOPs
// for that, and at which others a jump may be written over the first instructions. It looks at
// bytes alone, so that the gate of a build, which has the library's file or what was once said of
// it, and the engine, which has a process, come to the same answer.
//
// Nothing here knows files or processes.
package hotpatch

import (
	"bytes"
	"errors"
	"fmt"
)

// Version changes when the same code could get another answer than before: an answer that was
// written down is good for its version alone.
const Version = 4

// Sizes, in bytes, and bounds.
const (
	// NearLen is the length of the jump that is written where there are no NOPs.
	NearLen = 5
	// LandingLen is the length of endbr64, which stays where it is.
	LandingLen = 4
	// CodeLen is the most that whole instructions over a jump can have: one byte missing to five,
	// and one of fifteen.
	CodeLen = 20
	// BeforeLen and AtLen are the NOPs before the symbol, and at the entry.
	BeforeLen = 14
	AtLen     = 2
	// Window is what has to be there around an entry, from BeforeLen bytes before it.
	Window = BeforeLen + LandingLen + CodeLen
	// MaxFunction bounds what is decoded: glibc's largest function has 30 KiB.
	MaxFunction = 1 << 20
	// MaxText bounds the code that is searched for branches: Chrome's has more.
	MaxText = 32 << 20

	pageSize = 4096
)

var (
	landing = []byte{0xf3, 0x0f, 0x1e, 0xfa}
	nops    = bytes.Repeat([]byte{0x90}, BeforeLen)
	oneNOP  = []byte{0x66, 0x90}
)

// Error is why no jump can be put at the entry of a function.
type Error struct {
	Why   string // the same words for all functions of which the same is true
	Where string // places in the function; "" if there are none

	from uint64 // an address in the library; 0 if there is none
}

// Error returns both.
func (e *Error) Error() string {
	if e.Where == "" {
		return e.Why
	}
	return e.Why + " (" + e.Where + ")"
}

func no(why, where string, args ...any) error {
	return &Error{Why: why, Where: fmt.Sprintf(where, args...)}
}

// Reasons that others find.
var (
	ErrSize error = &Error{Why: "its size is not known"}
	ErrText error = &Error{Why: "the library's code is too large to be searched for branches " +
		"into it"}
	ErrOutside error = &Error{Why: "it is not in the library's code"}
)

// Entered is the reason that something at an address of the library may lead into the first bytes
// of a function.
func Entered(from uint64) error {
	return &Error{whyEntered, fmt.Sprintf("from %#x", from), from}
}

const whyEntered = "what may be a branch elsewhere leads into its first bytes"

// Moving returns an error with addresses as they are in the library's file, if that is loaded so
// far from where it says.
func Moving(err error, bias uint64) error {
	if e, ok := errors.AsType[*Error](err); ok && e.from != 0 {
		return Entered(e.from - bias)
	}
	return err
}

// HasNOPs recognises the NOPs of -fpatchable-function-entry=16,14, after endbr64 if there is one,
// as they are or made one by `ulp post`. window begins BeforeLen bytes before the symbol, and
// must have Window bytes.
func HasNOPs(window []byte) bool {
	if len(window) < Window || !bytes.HasPrefix(window, nops) {
		return false
	}
	at := bytes.TrimPrefix(window[BeforeLen:], landing)
	return bytes.HasPrefix(at, oneNOP) || bytes.HasPrefix(at, nops[:AtLen])
}

// Place is where a jump may be written in a function.
type Place struct {
	Landing bool // after endbr64
	N       int  // bytes that it replaces, as whole instructions: NearLen to CodeLen
}

// Off returns the place's offset in the function.
func (p Place) Off() int {
	if p.Landing {
		return LandingLen
	}
	return 0
}
