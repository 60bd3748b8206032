package abi

import (
	"debug/dwarf"
	"errors"
	"strings"
)

// Attributes and tags that debug/dwarf does not name.
const (
	attrDwoName    dwarf.Attr = 0x76
	attrGNUDwoName dwarf.Attr = 0x2130
	tagGNUCallSite dwarf.Tag  = 0x4109
)

// Operations of location expressions.
const (
	opAddr          = 0x03
	opConst4u       = 0x0c
	opConst8u       = 0x0e
	opFormTLS       = 0x9b
	opGNUPushTLS    = 0xe0
	maxDepth        = 1024 // of nested entries
	maxEntries      = 30_000_000
	maxStringLength = 4096
)

// walker makes the tables of one file in one pass over its entries.
type walker struct {
	*tables
	data    *dwarf.Data
	file    ref // 0, or inAlt
	alt     *sections
	facts   *Facts
	strings map[string]string
	stack   []scope
	left    int
	addr    int // size of an address
	order   func([]byte) uint64
}

// scope is an entry with children that the walk is in.
type scope struct {
	tag      dwarf.Tag
	typ      int32 // index of the type, or -1
	function int32 // index of the innermost function with an entry of its own, or -1
	direct   bool  // the scope is that function
	parts    []part
	variadic bool
}

// walk reads all entries.
func (w *walker) walk(info []byte) error {
	r := w.data.Reader()
	first := len(w.types)
	defer func() { w.indexTypes(w.file, first, len(info)) }()
	w.addr = r.AddressSize()
	order := r.ByteOrder()
	w.order = func(b []byte) uint64 {
		if len(b) == 4 {
			return uint64(order.Uint32(b))
		}
		return order.Uint64(b)
	}
	for {
		e, err := r.Next()
		if err != nil {
			return &FormatError{".debug_info", err}
		}
		if e == nil {
			break
		}
		if e.Tag == 0 {
			w.pop()
			continue
		}
		if w.left--; w.left < 0 {
			return &FormatError{".debug_info", errLimit}
		}
		if len(w.stack) > maxDepth {
			return &FormatError{".debug_info", errors.New("entries nested too deeply")}
		}
		w.addr = r.AddressSize()
		if err := w.entry(e); err != nil {
			return err
		}
	}
	for len(w.stack) > 0 {
		w.pop()
	}
	return nil
}

func (w *walker) entry(e *dwarf.Entry) error {
	s := scope{tag: e.Tag, typ: -1, function: -1}
	if n := len(w.stack); n > 0 {
		s.function = w.stack[n-1].function
	}
	switch e.Tag {
	case dwarf.TagCompileUnit, dwarf.TagPartialUnit, dwarf.TagTypeUnit,
		dwarf.TagSkeletonUnit:
		for len(w.stack) > 0 { // the unit before was not closed
			w.pop()
		}
		s.function = -1
		if err := w.unit(e); err != nil {
			return err
		}
	case dwarf.TagSubprogram:
		s.function, s.direct = w.function(e), true
	case dwarf.TagInlinedSubroutine:
		if s.function >= 0 {
			w.inlined = append(w.inlined, use{w.reference(e, dwarf.AttrAbstractOrigin), s.function})
		}
	case dwarf.TagCallSite, tagGNUCallSite:
		w.call(e, s.function)
	case dwarf.TagVariable:
		w.variable(e, s.function)
	case dwarf.TagFormalParameter, dwarf.TagMember, dwarf.TagEnumerator, dwarf.TagSubrangeType:
		w.part(e)
	case dwarf.TagUnspecifiedParameters:
		if n := len(w.stack); n > 0 {
			w.stack[n-1].variadic = true
		}
	case dwarf.TagBaseType, dwarf.TagPointerType, dwarf.TagConstType, dwarf.TagVolatileType,
		dwarf.TagRestrictType, dwarf.TagAtomicType, dwarf.TagStructType, dwarf.TagUnionType,
		dwarf.TagClassType, dwarf.TagEnumerationType, dwarf.TagTypedef, dwarf.TagArrayType,
		dwarf.TagSubroutineType, dwarf.TagUnspecifiedType, dwarf.TagReferenceType,
		dwarf.TagRvalueReferenceType:
		s.typ = w.typ(e)
	}
	if e.Children {
		w.push(s)
	}
	return nil
}

// push enters a scope. It has the memory of the last one at its depth.
func (w *walker) push(s scope) {
	if n := len(w.stack); n < cap(w.stack) {
		s.parts = w.stack[:n+1][n].parts[:0]
	}
	w.stack = append(w.stack, s)
}

// pop leaves a scope, and gives its parts to the entry that they belong to.
func (w *walker) pop() {
	n := len(w.stack)
	if n == 0 {
		return
	}
	s := &w.stack[n-1]
	first := int32(len(w.parts))
	switch {
	case s.typ >= 0:
		t := &w.types[s.typ]
		t.first, t.n, t.variadic = first, int32(len(s.parts)), s.variadic
		w.parts = append(w.parts, s.parts...)
	case s.direct:
		f := &w.functions[s.function]
		f.first, f.n, f.variadic = first, int32(len(s.parts)), s.variadic
		w.parts = append(w.parts, s.parts...)
	}
	w.stack = w.stack[:n-1]
}

func (w *walker) unit(e *dwarf.Entry) error {
	if e.Val(attrDwoName) != nil || e.Val(attrGNUDwoName) != nil ||
		e.Tag == dwarf.TagSkeletonUnit {
		return ErrSplit
	}
	u := unitDIE{entry: e, alt: w.file != 0, index: -1}
	if e.Tag == dwarf.TagCompileUnit {
		producer := w.text(e, dwarf.AttrProducer)
		u.index = len(w.facts.Units)
		w.facts.Units = append(w.facts.Units, Unit{
			Name:     w.text(e, dwarf.AttrName),
			Producer: producer,
			LTO:      strings.HasPrefix(producer, "GNU GIMPLE") || isLTO(producer),
		})
	}
	w.units = append(w.units, u)
	return nil
}

// isLTO reports whether a compiler's options ask for link-time optimization.
func isLTO(producer string) bool {
	lto := false
	for option := range strings.FieldsSeq(producer) {
		switch {
		case option == "-flto" || strings.HasPrefix(option, "-flto="):
			lto = true
		case option == "-fno-lto":
			lto = false
		}
	}
	return lto
}

func (w *walker) function(e *dwarf.Entry) int32 {
	f := functionDIE{at: ref(e.Offset) | w.file, origin: noRef, target: noRef,
		unit: w.currentUnit()}
	for i := range e.Field {
		switch v := &e.Field[i]; v.Attr {
		case dwarf.AttrName:
			f.name = w.string(v)
		case dwarf.AttrLinkageName:
			f.linkage = w.string(v)
		case dwarf.AttrType:
			f.target = w.ref(v)
		case dwarf.AttrAbstractOrigin, dwarf.AttrSpecification:
			f.origin = w.ref(v)
		case dwarf.AttrDeclFile:
			f.file = int32(number(v))
		case dwarf.AttrDeclLine:
			f.line = int32(number(v))
		case dwarf.AttrExternal:
			f.external = v.Val == true
		case dwarf.AttrDeclaration:
			f.declared = v.Val == true
		case dwarf.AttrLowpc:
			if low, ok := v.Val.(uint64); ok {
				f.places = append(f.places, low)
			}
		case dwarf.AttrRanges:
			f.places = w.ranges(e)
		}
	}
	w.functions = append(w.functions, f)
	return int32(len(w.functions) - 1)
}

// maxRanges bounds the pieces of one function's code.
const maxRanges = 64

// ranges returns the starts of a function's pieces of code; a part that is rarely executed is often
// elsewhere.
func (w *walker) ranges(e *dwarf.Entry) []uint64 {
	ranges, err := w.data.Ranges(e)
	if err != nil || len(ranges) > maxRanges {
		return nil
	}
	var starts []uint64
	for _, r := range ranges {
		starts = append(starts, r[0])
	}
	return starts
}

func (w *walker) call(e *dwarf.Entry, function int32) {
	origin := w.reference(e, dwarf.AttrCallOrigin)
	if origin == noRef {
		origin = w.reference(e, dwarf.AttrAbstractOrigin)
	}
	if origin != noRef && function >= 0 {
		w.calls = append(w.calls, use{origin, function})
	}
}

func (w *walker) variable(e *dwarf.Entry, function int32) {
	d := variableDIE{at: ref(e.Offset) | w.file, origin: noRef, target: noRef,
		function: function, unit: w.currentUnit()}
	for i := range e.Field {
		switch v := &e.Field[i]; v.Attr {
		case dwarf.AttrName:
			d.name = w.string(v)
		case dwarf.AttrType:
			d.target = w.ref(v)
		case dwarf.AttrAbstractOrigin, dwarf.AttrSpecification:
			d.origin = w.ref(v)
		case dwarf.AttrDeclFile:
			d.file = int32(number(v))
		case dwarf.AttrDeclLine:
			d.line = int32(number(v))
		case dwarf.AttrExternal:
			d.external = v.Val == true
		case dwarf.AttrDeclaration:
			d.declared = v.Val == true
		case dwarf.AttrLocation:
			if expr, ok := v.Val.([]byte); ok && v.Class == dwarf.ClassExprLoc {
				d.address, d.tls, d.placed = w.place(expr)
			}
		}
	}
	if d.target != noRef && function >= 0 {
		w.use(d.target)
	}
	if function < 0 || d.placed || d.origin == noRef && d.name != "" && !d.placed && w.abstract() {
		w.variables = append(w.variables, d)
	}
}

// abstract reports whether the walk is in a function without code of its own, whose static
// variables are defined in its copies.
func (w *walker) abstract() bool {
	for i := len(w.stack) - 1; i >= 0; i-- {
		if s := &w.stack[i]; s.direct {
			return len(w.functions[s.function].places) == 0
		}
	}
	return false
}

// place evaluates the location of a variable that does not move.
func (w *walker) place(expr []byte) (address uint64, tls, ok bool) {
	size := w.addr
	if len(expr) < 1+size || size != 4 && size != 8 {
		return 0, false, false
	}
	switch expr[0] {
	case opAddr:
		rest := expr[1+size:]
		tls = len(rest) == 1 && (rest[0] == opFormTLS || rest[0] == opGNUPushTLS)
	case opConst4u, opConst8u:
		if expr[0] == opConst4u && size != 4 || expr[0] == opConst8u && size != 8 {
			return 0, false, false
		}
		rest := expr[1+size:]
		if len(rest) != 1 || rest[0] != opFormTLS && rest[0] != opGNUPushTLS {
			return 0, false, false
		}
		tls = true
	default:
		return 0, false, false
	}
	return w.order(expr[1 : 1+size]), tls, true
}

// use notes a type that code uses.
func (w *walker) use(at ref) {
	if n := len(w.used); n == 0 || w.used[n-1] != at {
		w.used = append(w.used, at)
	}
}

// part adds a member, enumerator, parameter or dimension to the scope it is in.
func (w *walker) part(e *dwarf.Entry) {
	n := len(w.stack)
	if n == 0 {
		return
	}
	s := &w.stack[n-1]
	if s.typ < 0 && !s.direct {
		return // the parameters of an inlined copy are those of its origin
	}
	p := part{target: noRef, value: -1, bitOffset: -1}
	if e.Tag == dwarf.TagMember {
		p.value = 0 // of a union there is none
	}
	var oldBitOffset, size int64 = -1, 0
	for i := range e.Field {
		switch v := &e.Field[i]; v.Attr {
		case dwarf.AttrName:
			p.name = w.string(v)
		case dwarf.AttrType:
			p.target = w.ref(v)
		case dwarf.AttrDataMemberLoc, dwarf.AttrConstValue, dwarf.AttrCount:
			p.value = number(v)
		case dwarf.AttrUpperBound:
			if v.Class == dwarf.ClassConstant {
				p.value = number(v) + 1
			}
		case dwarf.AttrDataBitOffset:
			p.bitOffset = number(v)
		case dwarf.AttrBitOffset:
			oldBitOffset = number(v)
		case dwarf.AttrByteSize:
			size = number(v)
		case dwarf.AttrBitSize:
			p.bitSize = number(v)
		case dwarf.AttrDeclLine:
			p.line = int32(number(v))
		}
	}
	if oldBitOffset >= 0 { // counted from the most significant bit of a unit of size bytes
		p.bitOffset = (p.value+size)*8 - oldBitOffset - p.bitSize
	}
	if p.bitOffset >= 0 {
		p.value = p.bitOffset / 8
	}
	s.parts = append(s.parts, p)
}

func (w *walker) typ(e *dwarf.Entry) int32 {
	t := typeDIE{at: ref(e.Offset) | w.file, tag: e.Tag, size: -1, target: noRef,
		unit: w.currentUnit()}
	for i := range e.Field {
		switch v := &e.Field[i]; v.Attr {
		case dwarf.AttrName:
			t.name = w.string(v)
		case dwarf.AttrByteSize:
			if v.Class == dwarf.ClassConstant {
				t.size = number(v)
			}
		case dwarf.AttrType:
			t.target = w.ref(v)
		case dwarf.AttrDeclFile:
			t.file = int32(number(v))
		case dwarf.AttrDeclLine:
			t.line = int32(number(v))
		case dwarf.AttrDeclaration:
			t.declared = v.Val == true
		}
	}
	if t.size < 0 && t.tag == dwarf.TagPointerType {
		t.size = int64(w.addr)
	}
	w.types = append(w.types, t)
	return int32(len(w.types) - 1)
}

func (w *walker) currentUnit() int32 { return int32(len(w.units) - 1) }

// number returns a constant, 0 for anything else.
func number(v *dwarf.Field) int64 {
	n, _ := v.Val.(int64)
	return n
}

func (w *walker) text(e *dwarf.Entry, a dwarf.Attr) string {
	if v := e.AttrField(a); v != nil {
		return w.string(v)
	}
	return ""
}

// string returns a string, kept once for all entries that have it.
func (w *walker) string(v *dwarf.Field) string {
	s, ok := v.Val.(string)
	if !ok {
		s = w.altString(v)
	}
	if len(s) > maxStringLength {
		s = s[:maxStringLength]
	}
	if known, ok := w.strings[s]; ok {
		return known
	}
	w.strings[s] = s
	return s
}

func (w *walker) reference(e *dwarf.Entry, a dwarf.Attr) ref {
	if v := e.AttrField(a); v != nil {
		return w.ref(v)
	}
	return noRef
}
