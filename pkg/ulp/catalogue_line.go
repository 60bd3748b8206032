package ulp

import "math"

// symbolLine reads a symbol that is written in the very form of [Library.AppendCatalogue], as all 10,000 of a catalogue of
// ours are: without blanks and escapes, keys in order. It is three times as fast as reading JSON, which allows any form.
// If the symbol is in another one, or wrong, nothing is read and ok is false: only the general way knows what is wrong.
func (p *catalogueParser) symbolLine() (r row, ok bool) {
	p.peek()
	c := line{p.data[p.pos:]}
	name, ok1 := c.text(`{"name":"`)
	value, ok2 := c.number(`,"offset":`, math.MaxUint64)
	size, ok3 := c.number(`,"size":`, math.MaxUint64)
	info, ok4 := c.number(`,"st_info":`, math.MaxUint8)
	other, ok5 := c.number(`,"st_other":`, math.MaxUint8)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
		return row{}, false
	}
	r = row{value: value, size: size, info: byte(info), other: byte(other)}
	version, versioned := c.text(`,"version":"`)
	for _, f := range symbolFlags {
		if len(c.rest) > 0 && c.rest[0] == ',' && c.literal(f.written) {
			r.flags |= f.flag
		}
	}
	if !c.literal("}") || versioned && p.setVersion(&r, version) != nil {
		return row{}, false
	}
	r.name, r.length = p.keep(name), uint32(len(name))
	p.pos = len(p.data) - len(c.rest)
	return r, true
}

// line is the rest of a symbol while it is read. Once something does not fit, nothing does any more.
type line struct{ rest []byte }

// literal skips the text, if the rest begins with it.
func (c *line) literal(text string) bool {
	if len(c.rest) < len(text) || string(c.rest[:len(text)]) != text {
		return false
	}
	c.rest = c.rest[len(text):]
	return true
}

// text reads a string behind key and its opening quote. It must have a byte at least, and none that is escaped.
func (c *line) text(key string) (text []byte, ok bool) {
	if !c.literal(key) {
		return nil, false
	}
	for i, b := range c.rest {
		if b == '"' && i > 0 {
			text, c.rest = c.rest[:i], c.rest[i+1:]
			return text, true
		}
		if b < ' ' || b == '"' || b == '\\' {
			break
		}
	}
	c.rest = nil
	return nil, false
}

// maxDigits is how many digits a number can have without being too large for 64 bits.
const maxDigits = 19

// number reads a number up to limit behind key.
func (c *line) number(key string, limit uint64) (n uint64, ok bool) {
	if !c.literal(key) {
		return 0, false
	}
	i := 0
	for i < len(c.rest) && i <= maxDigits && c.rest[i]-'0' <= 9 {
		n = 10*n + uint64(c.rest[i]-'0')
		i++
	}
	if i == 0 || i > maxDigits || n > limit || i > 1 && c.rest[0] == '0' {
		c.rest = nil
		return 0, false
	}
	c.rest = c.rest[i:]
	return n, true
}
