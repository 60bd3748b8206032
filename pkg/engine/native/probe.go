package native

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrProbe means that a breakpoint stands where a detour is to be written, or was: a uprobe, or a
// debugger's. The kernel would run the instruction that its file has there, and go on in the middle
// of the detour, which ends the process.
var ErrProbe = errors.New("a probe is set here (a uprobe, or a debugger's breakpoint): remove it " +
	"first")

// int3 is the instruction that the kernel's uprobes and debuggers write over the first byte of the
// one that they stop at.
const int3 = 0xcc

// notProbed makes an ErrProbe of why a function's entry cannot be changed, if a breakpoint is in
// the bytes that would be.
func notProbed(err error, window []byte) error {
	if !errors.Is(err, ErrEntry) && !errors.Is(err, ErrForeign) {
		return err
	}
	from := beforeLen
	before := window[:beforeLen]
	if bytes.Count(before, nops[:1]) > 0 &&
		bytes.Equal(bytes.ReplaceAll(before, []byte{int3}, nops[:1]), nops) {
		// and not a linker's padding
		from = 0
	}
	if i := bytes.IndexByte(window[from:beforeLen+landingLen+nearLen], int3); i >= 0 {
		return fmt.Errorf("%w: %w, at %+d", ErrEntry, ErrProbe, from+i-beforeLen)
	}
	return err
}

// probed reports whether a breakpoint is in what is there, and in none of what should be.
func probed(have []byte, should ...[]byte) bool {
	for i, b := range have {
		if b != int3 {
			continue
		}
		meant := false
		for _, s := range should {
			meant = meant || i < len(s) && s[i] == int3
		}
		if !meant {
			return true
		}
	}
	return false
}
