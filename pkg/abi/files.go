package abi

import "debug/dwarf"

// lineTables finds the names of source files, and reads a unit's line table when it is asked for.
type lineTables struct {
	*tables
	main, alt *dwarf.Data
}

// file returns the name of a unit's file, "" if it is not known.
func (l *lineTables) file(unit int, index int32) string {
	if unit < 0 || unit >= len(l.units) || index < 0 {
		return ""
	}
	u := &l.units[unit]
	if !u.read {
		u.read = true
		u.files = l.readFiles(u)
	}
	if int(index) < len(u.files) {
		return u.files[index]
	}
	return ""
}

func (l *lineTables) readFiles(u *unitDIE) []string {
	data := l.main
	if u.alt {
		data = l.alt
	}
	r, err := data.LineReader(u.entry)
	if err != nil || r == nil {
		return nil
	}
	files := r.Files()
	names := make([]string, len(files))
	for i, f := range files {
		if f != nil {
			names[i] = f.Name
		}
	}
	return names
}
