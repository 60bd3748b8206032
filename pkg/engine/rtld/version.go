package rtld

const (
	// a definition: version, flags, index, count (16 bits each), hash, first name, next (32 bits
	// each)
	verdefSize = 20
	verdauxLen = 8
	verneedLen = 16 // a file: version, count (16 bits each), name, first need, next (32 bits each)
	// a need: hash (32 bits), flags, index (16 bits each), name, next (32 bits each)
	vernauxLen = 16
)

// readVersions reads the names of the symbol versions that the library defines, by the index that
// DT_VERSYM has.
func (l *Library) readVersions(r Reader) (map[uint16]string, error) {
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

// neededVersion returns the name of the version that the library needs of others and that has an
// index there; "" if none has.
func (l *Library) neededVersion(r Reader, index uint16) (string, error) {
	d := l.dynamic
	if d.verneed == 0 {
		return "", nil
	}
	if d.verneedNr > maxVersions {
		return "", ErrLimit
	}
	seen := 0
	addr := d.verneed
	for range d.verneedNr {
		var file [verneedLen]byte
		if err := l.readInside(r, file[:], addr); err != nil {
			return "", err
		}
		at := addr + uint64(le.Uint32(file[8:]))
		for range le.Uint16(file[2:]) {
			var need [vernauxLen]byte
			if err := l.readInside(r, need[:], at); err != nil {
				return "", err
			}
			if le.Uint16(need[6:])&versionBits == index {
				return l.text(r, d, uint64(le.Uint32(need[8:])), maxVerName)
			}
			if seen++; seen > maxVersions {
				return "", ErrLimit
			}
			at += uint64(le.Uint32(need[12:]))
		}
		next := uint64(le.Uint32(file[12:]))
		if next == 0 {
			break
		}
		addr += next
	}
	return "", nil
}

func (l *Library) readInside(r Reader, b []byte, addr uint64) error {
	if !l.Contains(addr, uint64(len(b))) {
		return malformed("table outside of the image")
	}
	return readFull(r, b, addr)
}
