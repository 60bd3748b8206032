package symtab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads JSON from memory, strictly and without building values: callers name what they want
// next. It is for catalogues, which have 10,000 objects of the same few keys; encoding/json takes
// ten times as long for them.
//
// After an error the position stays at the place that the error is about.
type scanner struct {
	data    []byte
	pos     int
	scratch []byte // of the last string that had escapes
}

// maxDepth bounds the nesting of values that are skipped.
const maxDepth = 64

var errSyntax = errors.New("is not JSON")

// fail returns an error about what is at the position.
func (s *scanner) fail(what string, err error) error {
	if s.pos >= len(s.data) && errors.Is(err, errSyntax) {
		err = io.ErrUnexpectedEOF
	}
	return &FormatError{Off: int64(s.pos), What: what, Err: err}
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\n', '\t', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// take skips white space and then c.
func (s *scanner) take(c byte) error {
	if s.pos < len(s.data) && s.data[s.pos] == c { // there mostly is no white space
		s.pos++
		return nil
	}
	if s.peek() != c {
		return s.fail(fmt.Sprintf("catalogue: want %q", c), errSyntax)
	}
	s.pos++
	return nil
}

// list reads what lies between open and shut, calling element at the start of each of the elements.
func (s *scanner) list(open, shut byte, element func() error) error {
	if err := s.take(open); err != nil {
		return err
	}
	if s.peek() == shut {
		s.pos++
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if s.peek() == shut {
			s.pos++
			return nil
		}
		if err := s.take(','); err != nil {
			return err
		}
	}
}

// array reads an array; element has to read one element.
func (s *scanner) array(element func() error) error { return s.list('[', ']', element) }

// object reads an object; value has to read the value of the key, which is only valid until then.
func (s *scanner) object(value func(key []byte) error) error {
	return s.list('{', '}', func() error {
		key, err := s.str()
		if err != nil {
			return err
		}
		if err := s.take(':'); err != nil {
			return err
		}
		return value(key)
	})
}

// str reads a string. The result is a part of the data, or valid until the next string is read.
func (s *scanner) str() ([]byte, error) {
	if err := s.take('"'); err != nil {
		return nil, err
	}
	for i, c := range s.data[s.pos:] {
		switch {
		case c == '"':
			b := s.data[s.pos : s.pos+i]
			s.pos += i + 1
			return b, nil
		case c == '\\':
			s.scratch = append(s.scratch[:0], s.data[s.pos:s.pos+i]...)
			s.pos += i
			return s.escaped()
		case c < ' ':
			s.pos += i
			return nil, s.fail("catalogue: string",
				errors.New("control characters have to be escaped"))
		}
	}
	s.pos = len(s.data)
	return nil, s.fail("catalogue: string", errSyntax)
}

// escaped reads the rest of a string from its first escape on.
func (s *scanner) escaped() ([]byte, error) {
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		switch {
		case c == '"':
			s.pos++
			return s.scratch, nil
		case c < ' ':
			return nil, s.fail("catalogue: string",
				errors.New("control characters have to be escaped"))
		case c == '\\':
			if err := s.escape(); err != nil {
				return nil, err
			}
		default:
			s.scratch = append(s.scratch, c)
			s.pos++
		}
	}
	return nil, s.fail("catalogue: string", errSyntax)
}

// escapes are the escapes of one letter, and what they stand for at the same place.
const (
	escapes  = `"\/bfnrt`
	unescape = "\"\\/\b\f\n\r\t"
)

// escape reads one escape, or two that are a surrogate pair.
func (s *scanner) escape() error {
	if s.pos+1 >= len(s.data) {
		s.pos = len(s.data)
		return s.fail("catalogue: escape", errSyntax)
	}
	c := s.data[s.pos+1]
	if i := bytes.IndexByte([]byte(escapes), c); i >= 0 {
		s.scratch = append(s.scratch, unescape[i])
		s.pos += 2
		return nil
	}
	r, ok := s.hex(s.pos)
	if !ok {
		return s.fail("catalogue: escape", errSyntax)
	}
	s.pos += 6
	if utf16.IsSurrogate(r) {
		low, ok := s.hex(s.pos)
		if pair := utf16.DecodeRune(r, low); ok && pair != utf8.RuneError {
			r = pair
			s.pos += 6
		} else {
			r = utf8.RuneError
		}
	}
	s.scratch = utf8.AppendRune(s.scratch, r)
	return nil
}

// hex returns the value of the escape \uXXXX at i.
func (s *scanner) hex(i int) (r rune, ok bool) {
	if len(s.data)-i < 6 || s.data[i] != '\\' || s.data[i+1] != 'u' {
		return 0, false
	}
	for _, c := range s.data[i+2 : i+6] {
		d := hexDigit(c)
		if d < 0 {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	return r, true
}

// hexDigit returns the value of a hexadecimal digit, -1 if c is none.
func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// integer reads a number without fraction and exponent, up to max. negative tells that it has a
// minus sign.
func (s *scanner) integer(max uint64) (n uint64, negative bool, err error) {
	if s.peek() == '-' {
		negative = true
		s.pos++
	}
	start := s.pos
	for s.pos < len(s.data) && s.data[s.pos]-'0' <= 9 {
		d := uint64(s.data[s.pos] - '0')
		if n > (math.MaxUint64-d)/10 || n*10+d > max {
			return 0, negative, s.fail("catalogue: number", fmt.Errorf("is larger than %d", max))
		}
		n = n*10 + d
		s.pos++
	}
	switch digits := s.pos - start; {
	case digits == 0 || digits > 1 && s.data[start] == '0':
		return 0, negative, s.fail("catalogue: number", errSyntax)
	case s.pos < len(s.data) && bytes.IndexByte([]byte(".eE"), s.data[s.pos]) >= 0:
		return 0, negative, s.fail("catalogue: number", errors.New("is not an integer"))
	}
	return n, negative, nil
}

// boolean reads true or false.
func (s *scanner) boolean() (bool, error) {
	if s.peek() == 't' {
		return true, s.literal("true")
	}
	return false, s.literal("false")
}

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
		return s.fail("catalogue: value", errSyntax)
	}
	s.pos += len(word)
	return nil
}

// skip reads a value of any kind.
func (s *scanner) skip(depth int) error {
	if depth > maxDepth {
		return s.fail("catalogue: value", errors.New("is nested too deeply"))
	}
	switch c := s.peek(); c {
	case '{':
		return s.object(func([]byte) error { return s.skip(depth + 1) })
	case '[':
		return s.array(func() error { return s.skip(depth + 1) })
	case '"':
		_, err := s.str()
		return err
	case 't', 'f':
		_, err := s.boolean()
		return err
	case 'n':
		return s.literal("null")
	default:
		return s.number()
	}
}

// number skips a number of any kind.
func (s *scanner) number() error {
	digits := func() (n int) {
		for s.pos < len(s.data) && s.data[s.pos]-'0' <= 9 {
			s.pos++
			n++
		}
		return n
	}
	one := func(set string) bool {
		if s.pos < len(s.data) && bytes.IndexByte([]byte(set), s.data[s.pos]) >= 0 {
			s.pos++
			return true
		}
		return false
	}
	one("-")
	if ok := one("0") || digits() > 0; !ok {
		return s.fail("catalogue: value", errSyntax)
	}
	if one(".") && digits() == 0 {
		return s.fail("catalogue: number", errSyntax)
	}
	if one("eE") {
		if one("+-"); digits() == 0 {
			return s.fail("catalogue: number", errSyntax)
		}
	}
	return nil
}
