package rpmmd

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
)

// ReadPrimary reads a decompressed primary.xml from r to its end, and calls yield for each package
// whose name is wanted, in the order of the file. A nil want accepts all names. Only wanted
// packages are decoded, and memory use does not grow with the file.
//
// The packages count only if ReadPrimary returns nil: then the list was complete, and r ended with
// io.EOF (see [OpenPrimary]). A list may have fewer packages than it announces, since some tools
// remove packages without updating the number; one more than announced is an error. Errors of r and
// of yield are wrapped; those about the content wrap [ErrMalformed] and give the offset. A wanted
// package with a weak digest gives [digest.ErrWeak], one with an unsafe location [ErrLocation], one
// of more than 8 MiB [ErrTooLarge].
func ReadPrimary(ctx context.Context, r io.Reader, want func(name string) bool,
	yield func(Package) error) error {
	if want == nil {
		want = func(string) bool { return true }
	}
	p := &primary{scanner: newScanner(ctx, r), want: want, yield: yield, declared: -1}
	for {
		t, err := p.next()
		if err != nil {
			return fmt.Errorf("primary.xml: at byte %d: %w", p.offset(), err)
		}
		if t.kind == theEnd {
			return nil
		}
		if err := p.token(t); err != nil {
			return fmt.Errorf("primary.xml: at byte %d: %w", t.start, err)
		}
	}
}

// primary is the state of ReadPrimary.
type primary struct {
	*scanner
	want  func(string) bool
	yield func(Package) error

	root     []byte // start tag of the root element
	declared int64  // packages announced by the root element, or -1 if none
	seen     int64  // packages
	pkg      struct {
		open     bool
		start    int64
		nameFrom int64 // start of the text of the open <name>; 0 if none is open
		named    bool  // the name is known
		doubt    bool  // only a real parser can tell its name
		dropped  bool  // not wanted
	}
}

// count counts a package before it is yielded.
func (p *primary) count() error {
	if p.seen++; p.declared >= 0 && p.seen > p.declared {
		return fmt.Errorf("%w: it has more packages than the %d it announces", ErrMalformed,
			p.declared)
	}
	return nil
}

// token handles one tag.
func (p *primary) token(t token) error {
	if t.kind != endTag {
		if err := p.start(t); err != nil || t.kind == startTag {
			return err
		}
	}
	switch {
	case t.depth == 2 && p.pkg.nameFrom > 0:
		return p.endName(t)
	case t.depth == 1 && p.pkg.open:
		return p.endPackage()
	}
	return nil
}

// start handles the start of an element. If its tag has a prefix or declares namespaces, only a
// real parser can tell which element it is.
func (p *primary) start(t token) error {
	if t.depth == 0 {
		return p.startRoot(t)
	}
	if t.depth > 2 {
		return nil
	}
	local := t.name[bytes.LastIndexByte(t.name, ':')+1:]
	plain := len(local) == len(t.name) && !bytes.Contains(t.raw, []byte("xmlns"))
	switch {
	case t.depth == 1 && string(local) == "package":
		p.pkg.open, p.pkg.start, p.pkg.doubt = true, t.start, !plain
		p.keep = t.start
	case t.depth == 2 && p.pkg.open && string(local) == "name":
		if p.pkg.dropped {
			return fmt.Errorf("%w: a package has two names", ErrMalformed)
		}
		p.pkg.doubt = p.pkg.doubt || p.pkg.named || !plain
		p.pkg.nameFrom = p.offset()
	}
	return nil
}

// startRoot checks that the document is a list of packages.
func (p *primary) startRoot(t token) error {
	first, err := xml.NewDecoder(bytes.NewReader(t.raw)).Token()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, noEOF(err))
	}
	root, _ := first.(xml.StartElement)
	if root.Name != (xml.Name{Space: commonNS, Local: "metadata"}) {
		return fmt.Errorf("%w: the root element is %q in namespace %q, not rpm-md's \"metadata\"",
			ErrMalformed, root.Name.Local, root.Name.Space)
	}
	for _, a := range root.Attr {
		if a.Name == (xml.Name{Local: "packages"}) {
			n, err := strconv.ParseUint(a.Value, 10, 63)
			if err != nil {
				return fmt.Errorf("%w: packages=%.40q is not a number", ErrMalformed, a.Value)
			}
			p.declared = int64(n)
		}
	}
	p.root = bytes.Clone(t.raw)
	return nil
}

// endName decides whether the package is wanted, if its name is plain text.
func (p *primary) endName(t token) error {
	text := p.bytes(p.pkg.nameFrom, max(p.pkg.nameFrom, t.start)) // <name/> starts before its text
	odd := func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '&' || c == '<' || c == ']' }
	if len(text) == 0 || bytes.ContainsFunc(text, odd) {
		p.pkg.doubt = true
	}
	p.pkg.named, p.pkg.nameFrom = true, 0
	if !p.pkg.doubt && !p.want(string(text)) {
		p.pkg.dropped = true
		p.keep = -1
	}
	return nil
}

// endPackage yields the package if it is wanted.
func (p *primary) endPackage() error {
	pkg := p.pkg
	p.pkg.open, p.pkg.named, p.pkg.dropped = false, false, false
	if pkg.dropped {
		return p.count()
	}
	p.keep = -1
	x, err := decodeElement(p.root, p.bytes(pkg.start, p.offset()))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !x.isPackage() {
		return nil
	}
	if err := p.count(); err != nil {
		return err
	}
	name, err := x.name()
	if err != nil || !p.want(name) {
		return err
	}
	converted, err := x.convert()
	if err != nil {
		return fmt.Errorf("package %.80q: %w", name, err)
	}
	return p.yield(converted)
}
