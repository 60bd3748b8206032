package rpmver

import (
	"fmt"
	"slices"
	"strings"
)

// Range is a set of versions: those that satisfy every one of its bounds. The zero Range has no
// bounds and contains every version.
//
// Bounds are compared like RPM's dependencies: one without a release means all releases of its
// version ("= 2.31" holds for 2.31-9, "< 2.38" does not hold for 2.38-1, "> 2.31" not for 2.31-5).
// Unlike in RPM, a bound without an epoch means all epochs: "< 2.38" is about the version, not
// about an epoch that a vendor once had to add.
type Range struct{ bounds []bound }

// bound is one comparison.
type bound struct {
	op       string // one of operators, never "=="
	evr      EVR
	anyEpoch bool // no epoch was given
}

// operators lists longer ones before their prefixes.
var operators = []string{"<=", ">=", "==", "!=", "<", ">", "="}

// RangeError is a syntax error in a range. It wraps [ErrSyntax].
type RangeError struct {
	Range  string // the whole text
	Column int    // from 1, in bytes: start of the wrong part
	Err    error
}

func (e *RangeError) Error() string {
	return fmt.Sprintf("version range %.200q, column %d: %v", e.Range, e.Column, e.Err)
}

// Unwrap returns the reason.
func (e *RangeError) Unwrap() error { return e.Err }

// ParseRange parses a range: comparisons (<, <=, =, ==, >=, >, != and a version as for [Parse])
// separated by commas, all of which must hold; blanks around them are ignored. A blank text is the
// zero Range. An error is a *[RangeError].
func ParseRange(s string) (Range, error) {
	var r Range
	if strings.Trim(s, blanks) == "" {
		return r, nil
	}
	at := 0
	for part := range strings.SplitSeq(s, ",") {
		if len(r.bounds) == maxBounds {
			return Range{}, &RangeError{s, at + 1, fmt.Errorf("%w: more than %d comparisons",
				ErrSyntax, maxBounds)}
		}
		b, column, err := parseBound(part)
		if err != nil {
			return Range{}, &RangeError{s, at + column, err}
		}
		r.bounds = append(r.bounds, b)
		at += len(part) + 1
	}
	return r, nil
}

const (
	blanks    = " \t\r\n"
	maxBounds = 100
)

// parseBound parses one comparison; column is the position of an error in s.
func parseBound(s string) (b bound, column int, err error) {
	rest := strings.TrimLeft(s, blanks)
	column = len(s) - len(rest) + 1
	if rest == "" {
		return bound{}, column, fmt.Errorf("%w: a comparison such as \">= 1.0-1\" is missing",
			ErrSyntax)
	}
	i := slices.IndexFunc(operators, func(op string) bool { return strings.HasPrefix(rest, op) })
	if i < 0 {
		return bound{}, column, fmt.Errorf("%w: one of <, <=, =, >=, >, != must come before the "+
			"version", ErrSyntax)
	}
	b.op = operators[i]
	rest = strings.TrimLeft(rest[len(b.op):], blanks)
	column = len(s) - len(rest) + 1
	if b.op == "==" {
		b.op = "="
	}
	rest = strings.TrimRight(rest, blanks)
	if b.evr, err = Parse(rest); err != nil {
		return bound{}, column, err
	}
	b.anyEpoch = !strings.Contains(rest, ":")
	return b, column, nil
}

// Contains reports whether every bound of r holds for e.
func (r Range) Contains(e EVR) bool {
	return !slices.ContainsFunc(r.bounds, func(b bound) bool { return !b.holds(e) })
}

func (b bound) holds(e EVR) bool {
	limit := b.evr
	if b.anyEpoch {
		limit.Epoch = e.Epoch
	}
	if limit.Release == "" || e.Release == "" {
		limit.Release, e.Release = "", ""
	}
	order := e.Compare(limit)
	switch b.op {
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	case ">=":
		return order >= 0
	case "!=":
		return order != 0
	}
	return order == 0
}

// String returns r in the form that [ParseRange] parses, with one blank after each operator and
// comma.
func (r Range) String() string {
	parts := make([]string, len(r.bounds))
	for i, b := range r.bounds {
		parts[i] = b.op + " " + b.String()
	}
	return strings.Join(parts, ", ")
}

// String returns the version of b, with the epoch if one was given, even 0.
func (b bound) String() string {
	if !b.anyEpoch && b.evr.Epoch == 0 {
		return "0:" + b.evr.String()
	}
	return b.evr.String()
}

// IsZero reports whether r contains every version.
func (r Range) IsZero() bool { return len(r.bounds) == 0 }

// Equal reports whether r and o have the same bounds in the same order.
func (r Range) Equal(o Range) bool { return slices.Equal(r.bounds, o.bounds) }

// MarshalText encodes a Range as a string, as in JSON and YAML.
func (r Range) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText decodes the form that MarshalText returns. An error is a *[RangeError], which has
// the column.
func (r *Range) UnmarshalText(text []byte) error {
	parsed, err := ParseRange(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}
