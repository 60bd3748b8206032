package abi

import (
	"bytes"
	"debug/dwarf"
	"encoding/hex"
)

// debug/dwarf returns references into the supplementary file, but does not follow them:
// DW_FORM_GNU_ref_alt and DW_FORM_GNU_strp_alt as int64 in classes of their own, DW_FORM_ref_sup4,
// DW_FORM_ref_sup8 and DW_FORM_strp_sup as unsigned integers.

// ref returns the place that a reference leads to, noRef if it leads nowhere.
func (w *walker) ref(v *dwarf.Field) ref {
	var off uint64
	switch val := v.Val.(type) {
	case dwarf.Offset:
		return ref(val) | w.file
	case int64:
		if v.Class != dwarf.ClassReferenceAlt {
			return noRef
		}
		off = uint64(val)
	case uint32:
		off = uint64(val)
	case uint64:
		if v.Class != dwarf.ClassReference {
			return noRef // DW_FORM_ref_sig8
		}
		off = val
	}
	if w.file != 0 || w.alt == nil || off >= uint64(len(w.alt.data["info"])) {
		return noRef // a supplementary file has none itself
	}
	return ref(off) | inAlt
}

// altString returns a string of the supplementary file.
func (w *walker) altString(v *dwarf.Field) string {
	var off uint64
	switch val := v.Val.(type) {
	case int64:
		off = uint64(val)
	case uint32:
		off = uint64(val)
	case uint64:
		off = val
	}
	if w.file != 0 || w.alt == nil {
		return ""
	}
	str := w.alt.data["str"]
	if off >= uint64(len(str)) {
		return ""
	}
	s, _, ok := bytes.Cut(str[off:], []byte{0})
	if !ok {
		return ""
	}
	return string(s)
}

// altLink returns the name and the build-id of the supplementary file that a file refers to, "" if
// it refers to none.
func (s *sections) altLink() (name, buildID string) {
	if data := s.data[".gnu_debugaltlink"]; data != nil {
		file, id, _ := bytes.Cut(data, []byte{0})
		return string(file), hex.EncodeToString(id)
	}
	// .debug_sup: version (2 bytes), 0, file name, length and bytes of the checksum.
	data := s.data["sup"]
	if len(data) < 4 || data[2] != 0 {
		return "", ""
	}
	file, rest, ok := bytes.Cut(data[3:], []byte{0})
	if !ok || len(rest) == 0 || int(rest[0]) > len(rest)-1 || rest[0] >= 0x80 {
		return "", ""
	}
	return string(file), hex.EncodeToString(rest[1 : 1+int(rest[0])])
}

// supplementaryID returns the checksum by which others refer to this supplementary file.
func (s *sections) supplementaryID() string {
	data := s.data["sup"]
	if len(data) < 5 || data[2] != 1 {
		return s.buildID
	}
	_, rest, ok := bytes.Cut(data[3:], []byte{0})
	if !ok || len(rest) == 0 || int(rest[0]) > len(rest)-1 || rest[0] >= 0x80 {
		return s.buildID
	}
	return hex.EncodeToString(rest[1 : 1+int(rest[0])])
}
