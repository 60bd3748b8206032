package process

const (
	verdefSize = 20 // a definition: version, flags, index, count (16 bits each), hash, first name, next (32 bits each)
	verdauxLen = 8
)

// readVersions reads the names of the symbol versions that the library defines, by the index that DT_VERSYM has.
func (l *Library) readVersions(r reader) (map[uint16]string, error) {
	d := l.dynamic
	if d.verdef == 0 || d.versym == 0 {
		return nil, nil
	}
	if d.verdefNr > maxVersions {
		return nil, ErrLimit
	}
	names := make(map[uint16]string, d.verdefNr)
	addr := d.verdef
	for range d.verdefNr {
		var b [verdefSize]byte
		if err := l.readInside(r, b[:], addr); err != nil {
			return nil, err
		}
		index := le.Uint16(b[4:]) & versionBits
		var aux [verdauxLen]byte
		if err := l.readInside(r, aux[:], addr+uint64(le.Uint32(b[12:]))); err != nil {
			return nil, err
		}
		name, err := l.text(r, d, uint64(le.Uint32(aux[:])), maxVerName)
		if err != nil {
			return nil, err
		}
		if index > 1 { // 1 is the library's own name, for symbols without a version
			names[index] = name
		}
		next := uint64(le.Uint32(b[16:]))
		if next == 0 {
			break
		}
		addr += next
	}
	return names, nil
}

func (l *Library) readInside(r reader, b []byte, addr uint64) error {
	if !l.Contains(addr, uint64(len(b))) {
		return malformed("table outside of the image")
	}
	return readFull(r, b, addr)
}
