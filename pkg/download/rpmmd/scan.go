package rpmmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
)

// scanner finds the tags of an XML document. It knows just enough XML for that: quoted attributes,
// comments, CDATA, processing instructions, and matching end tags. It rejects document types, which
// no generator of this metadata writes. Unlike a full parser it does not look into attributes and
// text.
type scanner struct {
	window
	names  []byte // of the open elements, joined
	ends   []int  // end of each in names
	closed bool   // the root element
}

func newScanner(ctx context.Context, r io.Reader) *scanner {
	return &scanner{window: newWindow(ctx, r)}
}

const (
	maxDepth = 64  // nesting depth; real documents have five levels
	maxName  = 256 // bytes
)

// tokenKind is the kind of a tag.
type tokenKind byte

const (
	startTag tokenKind = iota
	emptyTag           // <name/>: a start and an end in one
	endTag
	theEnd // of the document
)

// token is one tag. Its parts are valid until the next token is read.
type token struct {
	kind  tokenKind
	start int64  // offset in the document
	raw   []byte // the whole tag
	name  []byte // with its prefix
	depth int    // number of enclosing elements
}

// errUnusual means that a document is rejected although a parser might accept it.
var errUnusual = fmt.Errorf("%w: repository metadata do not use such XML", ErrMalformed)

// next returns the next tag.
func (s *scanner) next() (token, error) {
	if s.offset() == 0 {
		if err := s.byteOrderMark(); err != nil {
			return token{}, err
		}
	}
	for start := s.offset(); ; {
		if err := s.saysNothing(start); err != nil { // for comments and the like
			return token{}, err
		}
		if err := s.text(); errors.Is(err, io.EOF) {
			return token{kind: theEnd}, nil
		} else if err != nil {
			return token{}, err
		}
		if err := s.atLeast(2); err != nil {
			return token{}, err
		}
		var err error
		switch s.buf[s.pos+1] {
		case '!':
			err = s.declaration()
		case '?':
			err = s.instruction()
		case '/':
			return s.endTag()
		default:
			return s.startTag()
		}
		if err != nil {
			return token{}, err
		}
	}
}

// byteOrderMark skips the optional mark before UTF-8.
func (s *scanner) byteOrderMark() error {
	const mark = "\xef\xbb\xbf"
	if err := s.atLeast(len(mark)); err != nil {
		return err
	}
	if string(s.buf[:len(mark)]) == mark {
		s.pos = len(mark)
	}
	return nil
}

// maxBlank bounds the text between two packages, in bytes: real lists have a line break there.
// Within a package the bound is maxElement.
const maxBlank = 1 << 20

// saysNothing returns an error if there is too much between two tags, the first of which ended at
// start.
func (s *scanner) saysNothing(start int64) error {
	limit := int64(maxBlank)
	if len(s.ends) >= 2 {
		limit = maxElement
	}
	if s.offset()-start > limit {
		return fmt.Errorf("%w: more than %d bytes between two tags", ErrTooLarge, limit)
	}
	return nil
}

// text advances to the next "<". It returns io.EOF if there is none and the root element is closed.
func (s *scanner) text() error {
	for start := s.offset(); ; {
		if err := s.saysNothing(start); err != nil {
			return err
		}
		text := s.buf[s.pos:]
		n := bytes.IndexByte(text, '<')
		if n >= 0 {
			text = text[:n]
		}
		if len(s.ends) == 0 && len(bytes.TrimLeft(text, blanks)) > 0 {
			return fmt.Errorf("%w: text outside the root element", errUnusual)
		}
		s.pos += len(text)
		if n >= 0 {
			return nil
		}
		if err := s.fill(); errors.Is(err, io.EOF) && !s.closed {
			return errEnds
		} else if err != nil {
			return err
		}
	}
}

// declaration skips a comment or CDATA.
func (s *scanner) declaration() error {
	const comment, cdata = "<!--", "<![CDATA["
	if err := s.atLeast(len(comment)); err != nil {
		return err
	}
	if string(s.buf[s.pos:s.pos+len(comment)]) == comment {
		s.pos += len(comment)
		return s.skipBounded("-->")
	}
	if err := s.atLeast(len(cdata)); err != nil {
		return err
	}
	if len(s.ends) == 0 || string(s.buf[s.pos:s.pos+len(cdata)]) != cdata {
		return fmt.Errorf("%w: a document type, or CDATA outside the root element", errUnusual)
	}
	s.pos += len(cdata)
	return s.skipBounded("]]>")
}

// skipBounded advances past the next sep.
func (s *scanner) skipBounded(sep string) error {
	start := s.offset()
	return s.skip(sep, func() error { return s.saysNothing(start) })
}

// encodingUTF8 matches the names of the encoding that an XML declaration may have.
var encodingUTF8 = lazyregexp.New(`(?i)\sencoding\s*=\s*("utf-8"|'utf-8')`)

// instruction skips a processing instruction. An XML declaration must not name an encoding other
// than UTF-8.
func (s *scanner) instruction() error {
	const declaration = "<?xml"
	if err := s.atLeast(len(declaration) + 1); err != nil {
		return err
	}
	start := s.buf[s.pos : s.pos+len(declaration)+1]
	if string(start[:len(declaration)]) != declaration || !isBlank(start[len(declaration)]) &&
		start[len(declaration)] != '?' {
		s.pos += len("<?")
		return s.skipBounded("?>")
	}
	if s.offset() > 3 {
		return fmt.Errorf("%w: an XML declaration that is not at the start", errUnusual)
	}
	end, err := s.find("?>")
	if err != nil {
		return err
	}
	text := s.buf[s.pos : s.pos+end]
	if bytes.Contains(text, []byte("encoding")) && !encodingUTF8().Match(text) {
		return fmt.Errorf("%w: its encoding is not UTF-8: %.100q", errUnusual, text)
	}
	s.pos += end + len("?>")
	return nil
}

// startTag reads a start tag or an empty-element tag.
func (s *scanner) startTag() (token, error) {
	length, err := s.tagLength()
	if err != nil {
		return token{}, err
	}
	raw := s.buf[s.pos : s.pos+length]
	t := token{kind: startTag, start: s.offset(), raw: raw, name: leadingName(raw[1:]),
		depth: len(s.ends)}
	switch {
	case len(t.name) == 0:
		return token{}, fmt.Errorf("%w: the tag %.40q has no valid name", ErrMalformed, raw)
	case t.depth == 0 && s.closed:
		return token{}, fmt.Errorf("%w: a second root element", errUnusual)
	case t.depth == maxDepth:
		return token{}, fmt.Errorf("%w: elements nested more than %d deep", ErrTooLarge, maxDepth)
	}
	s.pos += length
	if raw[length-2] == '/' {
		t.kind = emptyTag
		s.closed = s.closed || t.depth == 0
		return t, nil
	}
	s.names = append(s.names, t.name...)
	s.ends = append(s.ends, len(s.names))
	return t, nil
}

// tagLength returns the length of the next tag, up to the first ">" that is not in quotes.
func (s *scanner) tagLength() (int, error) {
	quote := byte(0)
	for i := 1; ; {
		for rest := s.buf[s.pos:]; i < len(rest); i++ {
			switch c := rest[i]; {
			case c == '<':
				return 0, fmt.Errorf("%w: \"<\" in a tag", ErrMalformed)
			case quote != 0:
				if c == quote {
					quote = 0
				}
			case c == '>':
				return i + 1, nil
			case c == '"' || c == '\'':
				quote = c
			}
		}
		if err := s.fill(); err != nil {
			return 0, ends(err)
		}
	}
}

// endTag reads the end of the innermost open element.
func (s *scanner) endTag() (token, error) {
	n, err := s.find(">")
	if err != nil {
		return token{}, err
	}
	raw := s.buf[s.pos : s.pos+n+1]
	t := token{kind: endTag, start: s.offset(), raw: raw, name: bytes.TrimRight(raw[2:n], blanks),
		depth: len(s.ends) - 1}
	if t.depth < 0 {
		return token{}, fmt.Errorf("%w: %.80q closes no element", ErrMalformed, raw)
	}
	from := 0
	if t.depth > 0 {
		from = s.ends[t.depth-1]
	}
	if open := s.names[from:]; !bytes.Equal(open, t.name) {
		return token{}, fmt.Errorf("%w: %.80q closes the element %.80q", ErrMalformed, raw, open)
	}
	s.names, s.ends = s.names[:from], s.ends[:t.depth]
	s.pos += n + 1
	s.closed = t.depth == 0
	return t, nil
}

const blanks = " \t\r\n"

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// leadingName returns the XML name at the start of b, if it is short enough and followed by a
// blank, "/" or ">".
func leadingName(b []byte) []byte {
	for i, c := range b[:min(len(b), maxName+1)] {
		switch {
		case c >= 0x80, 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_', c == ':':
		case i > 0 && ('0' <= c && c <= '9' || c == '-' || c == '.'):
		case isBlank(c), c == '/', c == '>':
			return b[:i]
		default:
			return nil
		}
	}
	return nil
}
