package ulp

import "fmt"

// Unwinding reports whether exceptions, or the end of a thread, may pass through the replacements
// of a live patch. The native engine needs to know: the unwinder does not find what it loads.
type Unwinding string

// The two choices. The zero value is the first one.
const (
	// UnwindingAny is whatever may be: functions that handle what passes through are not replaced.
	UnwindingAny Unwinding = "any"
	// UnwindingNone means that nothing passes, as the author of the live patch declares: what the
	// replacements call does not throw, and threads are not cancelled in it, or what is to be
	// cleaned up then is by other means.
	UnwindingNone Unwinding = "none"
)

// ParseUnwinding returns the choice of that name.
func ParseUnwinding(s string) (Unwinding, error) {
	if u := Unwinding(s); u == UnwindingAny || u == UnwindingNone {
		return u, nil
	}
	return "", fmt.Errorf("%.40q: must be %s or %s", s, UnwindingAny, UnwindingNone)
}
