package symtab

import (
	"encoding/binary"
	"math"
)

// symbolLine reads a symbol that is written in the very form of [Library.AppendCatalogue], as all
// 10,000 of a catalogue of ours are: without blanks and escapes, keys in order. It is three times
// as fast as reading JSON, which allows any form. If the symbol is in another one, or wrong,
// nothing is read and it returns false: only the general way knows what is wrong. What is in the
// row then means nothing.
//
// Each step returns what is after it, nil if the text does not fit; nothing fits nil. The keys are
// constants in the code, which the compiler compares in a register or two.
func (p *catalogueParser) symbolLine(r *row) bool {
	p.peek()
	d := p.data[p.pos:]
	if len(d) < 9 || string(d[:9]) != `{"name":"` {
		return false
	}
	name, d := plainText(d[9:])
	if len(d) < 10 || string(d[:10]) != `,"offset":` {
		return false
	}
	r.value, d = digits(d[10:], math.MaxUint64)
	if len(d) < 8 || string(d[:8]) != `,"size":` {
		return false
	}
	r.size, d = digits(d[8:], math.MaxUint64)
	if len(d) < 11 || string(d[:11]) != `,"st_info":` {
		return false
	}
	info, d := digits(d[11:], math.MaxUint8)
	if len(d) < 12 || string(d[:12]) != `,"st_other":` {
		return false
	}
	other, d := digits(d[12:], math.MaxUint8)
	r.info, r.other = byte(info), byte(other)
	if d = p.lineRest(r, d); d == nil {
		return false
	}
	r.name, r.length = p.t.keep(name), uint32(len(name))
	p.pos = len(p.data) - len(d)
	return true
}

// lineRest reads what only some symbols have, and the closing brace.
func (p *catalogueParser) lineRest(r *row, d []byte) []byte {
	if len(d) > 0 && d[0] == '}' {
		return d[1:]
	}
	var version []byte
	if len(d) >= 12 && string(d[:12]) == `,"version":"` {
		if version, d = plainText(d[12:]); d == nil {
			return nil
		}
	}
	for i := range symbolFlags { // which is not copied
		f := &symbolFlags[i]
		if len(d) >= len(f.written) && d[2] == f.written[2] &&
			string(d[:len(f.written)]) == f.written {
			r.flags |= f.flag
			d = d[len(f.written):]
		}
	}
	if len(d) == 0 || d[0] != '}' || version != nil && p.setVersion(r, version) != nil {
		return nil
	}
	return d[1:]
}

// plainText reads a string after its opening quote. It must have a byte at least, and none that is
// escaped.
func plainText(d []byte) (text, rest []byte) {
	n := 0
	for len(d)-n >= 8 && allPlain(binary.LittleEndian.Uint64(d[n:])) {
		n += 8
	}
	for n < len(d) && d[n] >= ' ' && d[n] != '"' && d[n] != '\\' {
		n++
	}
	if n == 0 || n == len(d) || d[n] != '"' {
		return nil, nil
	}
	return d[:n], d[n+1:]
}

// allPlain tells whether each of eight bytes stands for itself in a string: there is neither a
// quote nor a backslash nor a control character. Subtracting with a byte per byte borrows from the
// highest bit of those that are smaller; what a borrow of a neighbour adds can only be a false
// alarm.
func allPlain(w uint64) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	quote, backslash := w^(ones*'"'), w^(ones*'\\')
	return ((w-ones*' ')&^w|(quote-ones)&^quote|(backslash-ones)&^backslash)&high == 0
}

// maxDigits is how many digits a number can have without being too large for 64 bits.
const maxDigits = 19

// digits reads a number up to limit.
func digits(d []byte, limit uint64) (n uint64, rest []byte) {
	i := 0
	for i < len(d) && i <= maxDigits && d[i]-'0' <= 9 {
		n = 10*n + uint64(d[i]-'0')
		i++
	}
	if i == 0 || i > maxDigits || n > limit || i > 1 && d[0] == '0' {
		return 0, nil
	}
	return n, d[i:]
}
