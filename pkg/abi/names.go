package abi

import (
	"debug/dwarf"
	"fmt"
	"hash/fnv"
	"math"
	"strconv"
	"strings"
)

const (
	maxNesting  = 64   // of types without names
	maxTypeName = 2000 // bytes
	unknownType = "?"
)

// namer names types as C does. A struct without a name gets a digest of its content for one.
type namer struct {
	*tables
	names []string       // by the index of the type; "" if it was not named yet
	bases map[int]string // of types without names
}

// name returns the type at a place.
func (n *namer) name(at ref) Type {
	return Type{n.text(at, 0), n.size(at, 0)}
}

// text returns a type's name.
func (n *namer) text(at ref, depth int) string {
	if at == noRef {
		return "void"
	}
	i := n.typeAt(at)
	if i < 0 || depth > maxNesting {
		return unknownType
	}
	if n.names[i] == "" {
		n.names[i] = unknownType // for types that lead back here without a name between
		n.names[i] = n.declare(at, "", depth)
	}
	return n.names[i]
}

// declare returns the declaration of something with the type at a place: inner is the part of it
// that is nearer to the name, such as the star of a pointer.
func (n *namer) declare(at ref, inner string, depth int) string {
	base := "void"
	if at != noRef {
		i := n.typeAt(at)
		if i < 0 || depth > maxNesting || len(inner) > maxTypeName {
			return join(unknownType, inner)
		}
		t := &n.types[i]
		switch t.tag {
		case dwarf.TagPointerType, dwarf.TagReferenceType, dwarf.TagRvalueReferenceType:
			return n.declare(t.target, pointerMarks[t.tag]+inner, depth+1)
		case dwarf.TagConstType, dwarf.TagVolatileType, dwarf.TagRestrictType,
			dwarf.TagAtomicType:
			word := qualifiers[t.tag]
			if n.isPointer(t.target) {
				return n.declare(t.target, join(word, inner), depth+1)
			}
			return word + " " + n.declare(t.target, inner, depth+1)
		case dwarf.TagArrayType:
			return n.declare(t.target, group(inner)+n.dimensions(t), depth+1)
		case dwarf.TagSubroutineType:
			return n.declare(t.target, group(inner)+n.parameters(t, depth), depth+1)
		default:
			base = n.base(i, depth)
		}
	}
	return join(base, inner)
}

var pointerMarks = map[dwarf.Tag]string{
	dwarf.TagPointerType:         "*",
	dwarf.TagReferenceType:       "&",
	dwarf.TagRvalueReferenceType: "&&",
}

var qualifiers = map[dwarf.Tag]string{
	dwarf.TagConstType:    "const",
	dwarf.TagVolatileType: "volatile",
	dwarf.TagRestrictType: "restrict",
	dwarf.TagAtomicType:   "_Atomic",
}

// kinds are the types that have layouts.
var kinds = map[dwarf.Tag]Kind{
	dwarf.TagStructType:      Struct,
	dwarf.TagClassType:       Struct,
	dwarf.TagUnionType:       Union,
	dwarf.TagEnumerationType: Enum,
	dwarf.TagTypedef:         Typedef,
}

func (n *namer) isPointer(at ref) bool {
	i := n.typeAt(at)
	return i >= 0 && n.types[i].tag == dwarf.TagPointerType
}

// base returns the name of a type that is not made of others by a declaration.
func (n *namer) base(i, depth int) string {
	t := &n.types[i]
	kind := kinds[t.tag]
	switch {
	case kind == "" || kind == Typedef:
		if t.name == "" {
			return unknownType
		}
		return t.name
	case t.name != "":
		return string(kind) + " " + t.name
	}
	if name, ok := n.bases[i]; ok {
		return name
	}
	n.bases[i] = unknownType // C has no circles without a name
	h := fnv.New64a()
	for _, p := range n.parts[t.first : t.first+t.n] {
		_, _ = fmt.Fprintf(h, "%s %s %d %d %d\n", p.name, n.text(p.target, depth+1), p.value,
			p.bitOffset, p.bitSize)
	}
	n.bases[i] = fmt.Sprintf("%s {%d bytes, #%08x}", kind, t.size, uint32(h.Sum64()))
	return n.bases[i]
}

func (n *namer) dimensions(t *typeDIE) string {
	var b strings.Builder
	for _, p := range n.parts[t.first : t.first+t.n] {
		if b.WriteByte('['); p.value >= 0 {
			b.WriteString(strconv.FormatInt(p.value, 10))
		}
		b.WriteByte(']')
		if b.Len() > maxTypeName {
			return "[?]"
		}
	}
	return b.String()
}

func (n *namer) parameters(t *typeDIE, depth int) string {
	var list []string
	size := 0
	for _, p := range n.parts[t.first : t.first+t.n] {
		name := n.text(p.target, depth+1)
		if size += len(name); size > maxTypeName {
			return "(" + unknownType + ")"
		}
		list = append(list, name)
	}
	if t.variadic {
		list = append(list, "...")
	}
	if len(list) == 0 {
		list = []string{"void"}
	}
	return "(" + strings.Join(list, ", ") + ")"
}

// group puts what binds less than brackets in parentheses.
func group(inner string) string {
	if strings.HasPrefix(inner, "*") {
		return "(" + inner + ")"
	}
	return inner
}

func join(a, b string) string {
	if b == "" {
		return a
	}
	return a + " " + b
}

// size returns the size of a type, -1 if it is not known.
func (n *namer) size(at ref, depth int) int64 {
	i := n.typeAt(at)
	if i < 0 || depth > maxNesting {
		return -1
	}
	t := &n.types[i]
	if t.size >= 0 {
		return t.size
	}
	switch t.tag {
	case dwarf.TagTypedef, dwarf.TagConstType, dwarf.TagVolatileType, dwarf.TagRestrictType,
		dwarf.TagAtomicType:
		return n.size(t.target, depth+1)
	case dwarf.TagArrayType:
		size := n.size(t.target, depth+1)
		if t.n > maxNesting {
			return -1
		}
		for _, p := range n.parts[t.first : t.first+t.n] {
			if p.value < 0 || size < 0 || p.value > 0 && size > math.MaxInt64/p.value {
				return -1
			}
			size *= p.value
		}
		return size
	}
	return -1
}
