package tracer

import (
	"encoding/binary"
	"testing"
)

// TestEntersFunctions tells registers with which a function may be entered from those with which it
// would compute wrongly.
func TestEntersFunctions(t *testing.T) {
	le := binary.LittleEndian
	for name, tc := range map[string]struct {
		change func(x []byte)
		want   bool
	}{
		"initial":          {func([]byte) {}, true},
		"vectors":          {func(x []byte) { x[160], x[xsaveLegacy] = 1, 7 }, true},
		"sticky flags":     {func(x []byte) { x[24] |= 0x3f }, true},
		"rounding":         {func(x []byte) { x[25] |= 0x60 }, false},
		"exceptions":       {func(x []byte) { le.PutUint32(x[24:], 0) }, false},
		"flush to zero":    {func(x []byte) { x[25] |= 0x80 }, false},
		"x87 precision":    {func(x []byte) { le.PutUint16(x, 0x27f) }, false},
		"a full x87 stack": {func(x []byte) { x[4] = 0xff }, false},
	} {
		x := initialXstate(make([]byte, xsaveLegacy+xsaveHeader))
		if tc.change(x); entersFunctions(x) != tc.want {
			t.Errorf("%s: %v", name, !tc.want)
		}
	}
}
