package rpmver

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxLength bounds the input of Parse: no build has a longer version, and messages quote it.
const maxLength = 512

// ErrSyntax means that a text is not a version, or not a range of versions.
var ErrSyntax = errors.New("not an RPM version")

// EVR is the epoch, version and release by which RPM compares packages. The zero EVR is no version.
type EVR struct {
	Epoch   int // 0 to 2^31-1; 0 is the same as none
	Version string
	Release string // may be empty, in bounds and in what packages provide
}

// Parse parses "[epoch:]version[-release]". Version and release consist of ASCII letters, digits
// and "._+~^", as RPM itself requires of packages. An error wraps [ErrSyntax].
func Parse(s string) (EVR, error) {
	if len(s) > maxLength {
		return EVR{}, fmt.Errorf("%w: %.40q… is longer than %d bytes", ErrSyntax, s, maxLength)
	}
	epoch, rest, found := strings.Cut(s, ":")
	if !found {
		epoch, rest = "0", s
	}
	version, release, hasRelease := strings.Cut(rest, "-")
	number, err := strconv.ParseUint(epoch, 10, 31)
	switch {
	case err != nil:
		return EVR{}, fmt.Errorf("%w: %q: the epoch before \":\" must be a number from 0 to "+
			"2147483647", ErrSyntax, s)
	case version == "":
		return EVR{}, fmt.Errorf("%w: %q has no version", ErrSyntax, s)
	case hasRelease && release == "":
		return EVR{}, fmt.Errorf("%w: %q has nothing after \"-\"", ErrSyntax, s)
	}
	for _, part := range []string{version, release} {
		if i := strings.IndexFunc(part, foreign); i >= 0 {
			return EVR{}, fmt.Errorf("%w: %q must not contain %q", ErrSyntax, s,
				[]rune(part[i:])[0])
		}
	}
	return EVR{Epoch: int(number), Version: version, Release: release}, nil
}

// foreign reports whether RPM forbids r in a version and in a release.
func foreign(r rune) bool {
	return r >= 0x80 || !isDigit(byte(r)) && !isLetter(byte(r)) && !strings.ContainsRune("._+~^", r)
}

// String returns the shortest form that [Parse] parses as e: without an epoch of 0 and without an
// empty release. The zero EVR gives "".
func (e EVR) String() string {
	s := e.Version
	if e.Epoch != 0 {
		s = strconv.Itoa(e.Epoch) + ":" + s
	}
	if e.Release != "" {
		s += "-" + e.Release
	}
	return s
}

// IsZero reports whether e is no version at all.
func (e EVR) IsZero() bool { return e == EVR{} }

// Compare orders e and o as RPM orders packages: by epoch, then version, then release; no release
// is older than any. It returns -1, 0 or +1. EVRs that RPM reads as equal ("1.0" and "1_0") give 0.
func (e EVR) Compare(o EVR) int {
	return cmp.Or(
		cmp.Compare(e.Epoch, o.Epoch),
		Compare(e.Version, o.Version),
		cmp.Compare(min(len(e.Release), 1), min(len(o.Release), 1)),
		Compare(e.Release, o.Release),
	)
}

// MarshalText encodes an EVR as a string, as in JSON and YAML.
func (e EVR) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText decodes the form that MarshalText returns; empty text is the zero EVR.
func (e *EVR) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*e = EVR{}
		return nil
	}
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*e = parsed
	return nil
}
