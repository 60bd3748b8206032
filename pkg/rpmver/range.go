package rpmver

import (
	"fmt"
	"slices"
	"strings"
)

// Range is a set of versions: those for which every one of its bounds holds. The zero Range has no bounds and holds
// every version.
//
// A bound is compared as RPM compares dependencies: one without a release means all releases of its version ("= 2.31"
// holds for 2.31-9, "< 2.38" does not hold for 2.38-1, "> 2.31" not for 2.31-5). Other than in RPM, a bound without an
// epoch means all epochs: who writes "< 2.38" thinks of the version, not of an epoch that a vendor once had to add.
type Range struct{ bounds []bound }

// bound is one comparison.
type bound struct {
	op       string // one of operators, never "=="
	evr      EVR
	anyEpoch bool // no epoch was written
}

// operators has the longer ones before those that they begin with.
var operators = []string{"<=", ">=", "==", "!=", "<", ">", "="}

// RangeError says where a range cannot be read. It wraps [ErrSyntax].
type RangeError struct {
	Range  string // the whole text
	Column int    // from 1, in bytes: where the wrong part begins
	Err    error
}

func (e *RangeError) Error() string {
	return fmt.Sprintf("version range %.200q, column %d: %v", e.Range, e.Column, e.Err)
}

// Unwrap returns the reason.
func (e *RangeError) Unwrap() error { return e.Err }

// ParseRange reads a range: comparisons (<, <=, =, ==, >=, >, != and a version as [Parse] reads it) joined by commas, all
// of which must hold; blanks around them do not matter. Nothing but blanks is the zero Range. An error is a *[RangeError].
func ParseRange(s string) (Range, error) {
	var r Range
	if strings.Trim(s, blanks) == "" {
		return r, nil
	}
	at := 0
	for part := range strings.SplitSeq(s, ",") {
		if len(r.bounds) == maxBounds {
			return Range{}, &RangeError{s, at + 1, fmt.Errorf("%w: more than %d comparisons", ErrSyntax, maxBounds)}
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

// parseBound reads one comparison; column says where in s an error is.
func parseBound(s string) (b bound, column int, err error) {
	rest := strings.TrimLeft(s, blanks)
	column = len(s) - len(rest) + 1
	if rest == "" {
		return bound{}, column, fmt.Errorf("%w: a comparison such as \">= 1.0-1\" is missing", ErrSyntax)
	}
	i := slices.IndexFunc(operators, func(op string) bool { return strings.HasPrefix(rest, op) })
	if i < 0 {
		return bound{}, column, fmt.Errorf("%w: one of <, <=, =, >=, >, != must come before the version", ErrSyntax)
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

// String returns r in the form that [ParseRange] reads, with one blank after each operator and comma.
func (r Range) String() string {
	parts := make([]string, len(r.bounds))
	for i, b := range r.bounds {
		parts[i] = b.op + " " + b.String()
	}
	return strings.Join(parts, ", ")
}

// String returns the version of b, with the epoch if one was written, even 0.
func (b bound) String() string {
	if !b.anyEpoch && b.evr.Epoch == 0 {
		return "0:" + b.evr.String()
	}
	return b.evr.String()
}

// IsZero reports whether r holds every version.
func (r Range) IsZero() bool { return len(r.bounds) == 0 }

// Equal reports whether r and o have the same bounds in the same order.
func (r Range) Equal(o Range) bool { return slices.Equal(r.bounds, o.bounds) }

// MarshalText makes a Range a string in JSON and YAML.
func (r Range) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText wrote. An error is a *[RangeError], which has the column.
func (r *Range) UnmarshalText(text []byte) error {
	parsed, err := ParseRange(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}
