package symtab

import (
	"bytes"
	"errors"
	"math"
)

// symbols reads the value of "symbols".
func (p *catalogueParser) symbols() error {
	p.t.grow(p.data[p.pos:])
	return p.array(func() error {
		r := p.t.add()
		if p.symbolLine(r) {
			return nil
		}
		*r = row{}
		p.seen = 0
		if err := p.object(func(key []byte) error {
			return p.symbolValue(symbolKey(key), r)
		}); err != nil {
			return err
		}
		return p.all(wantSymbol, `catalogue: one of the symbol's "name", "offset", "size", `+
			`"st_info", "st_other"`)
	})
}

func symbolKey(key []byte) keys {
	switch string(key) {
	case "name":
		return keyName
	case "offset":
		return keyOffset
	case "size":
		return keySize
	case "st_info":
		return keyInfo
	case "st_other":
		return keyOther
	case "version":
		return keyVersion
	case "default":
		return keyDefault
	case "dynamic":
		return keyDynamic
	case "undefined":
		return keyUndefined
	case "patchable":
		return keyPatchable
	case "writable":
		return keyWritable
	case "landing":
		return keyLanding
	}
	return keyUnknown
}

func (p *catalogueParser) symbolValue(k keys, r *row) (err error) {
	if err := p.note(k); err != nil {
		return err
	}
	switch k {
	case keyName:
		return p.symbolName(r)
	case keyOffset:
		r.value, err = p.address()
	case keySize:
		r.size, err = p.address()
	case keyInfo:
		r.info, err = p.byte()
	case keyOther:
		r.other, err = p.byte()
	case keyVersion:
		return p.symbolVersion(r)
	case keyDefault:
		return p.flag(r, flagDefault)
	case keyDynamic:
		return p.flag(r, flagDynamic)
	case keyUndefined:
		return p.flag(r, flagUndefined)
	case keyPatchable:
		return p.flag(r, flagPatchable)
	case keyWritable:
		return p.flag(r, flagWritable)
	case keyLanding:
		return p.flag(r, flagLanding)
	default:
		return p.skip(3)
	}
	return err
}

func (p *catalogueParser) flag(r *row, f flag) error {
	set, err := p.boolean()
	if set {
		r.flags |= f
	}
	return err
}

func (p *catalogueParser) byte() (byte, error) {
	n, negative, err := p.integer(math.MaxUint8)
	if err == nil && negative {
		err = p.fail("catalogue: number", errors.New("is negative"))
	}
	return byte(n), err
}

// address reads an offset or a size.
func (p *catalogueParser) address() (uint64, error) {
	n, negative, err := p.integer(math.MaxUint64)
	if err != nil || !negative {
		return n, err
	}
	if n == 0 || n > -math.MinInt32 {
		return 0, p.fail("catalogue: number", errors.New("is negative"))
	}
	p.negative = p.pos
	return uint64(-uint32(n)), nil
}

// symbolName keeps the name of a symbol.
func (p *catalogueParser) symbolName(r *row) error {
	b, err := p.str()
	if err != nil {
		return err
	}
	if len(b) == 0 || bytes.IndexByte(b, 0) >= 0 {
		return p.fail("catalogue: name of a symbol", errName)
	}
	r.name, r.length = p.t.keep(b), uint32(len(b))
	return nil
}

// symbolVersion keeps the version of a symbol. Each one is kept once.
func (p *catalogueParser) symbolVersion(r *row) error {
	b, err := p.str()
	if err != nil {
		return err
	}
	return p.setVersion(r, b)
}

func (p *catalogueParser) setVersion(r *row, b []byte) (err error) {
	if r.version, err = p.t.version(b); err != nil {
		return p.fail("catalogue: version of a symbol", err)
	}
	return nil
}
