package ulp

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// decoder reads fields one after the other. After the first error every method returns a zero
// value.
type decoder struct {
	data []byte
	text string // the same bytes; names are parts of it, so that all of them together cost one copy
	off  int
	err  error
}

func (d *decoder) fail(off int, what string, err error) {
	if d.err == nil {
		d.err = &symtab.FormatError{Off: int64(off), What: what, Err: err}
	}
}

func (d *decoder) bytes(what string, n int) []byte {
	if d.err == nil && n > len(d.data)-d.off {
		d.fail(d.off, what, fmt.Errorf("%d bytes wanted, %d left: %w", n, len(d.data)-d.off,
			io.ErrUnexpectedEOF))
	}
	if d.err != nil {
		return nil
	}
	d.off += n
	return d.data[d.off-n : d.off]
}

func (d *decoder) u32(what string) uint32 {
	if b := d.bytes(what, 4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) u64(what string) uint64 {
	if b := d.bytes(what, 8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) bool(what string) bool {
	b := d.bytes(what, 1)
	if b != nil && b[0] > 1 {
		d.fail(d.off-1, what, fmt.Errorf("%d, want 0 or 1: %w", b[0], ErrValue))
	}
	return b != nil && b[0] == 1
}

// length reads a u32 that says how many bytes follow.
func (d *decoder) length(what string) int {
	at := d.off
	n := d.u32(what)
	if left := len(d.data) - d.off; d.err == nil && uint64(n) > uint64(left) {
		d.fail(at, "length of "+what, fmt.Errorf("%d bytes wanted, %d left: %w", n, left,
			io.ErrUnexpectedEOF))
		return 0
	}
	return int(n)
}

// count reads a u32 that says how many elements of at least size bytes follow.
func (d *decoder) count(what string, size int) int {
	at := d.off
	n := d.u32(what)
	if left := len(d.data) - d.off; d.err == nil && uint64(n)*uint64(size) > uint64(left) {
		d.fail(at, what, fmt.Errorf("%d do not fit into %d bytes: %w", n, left,
			io.ErrUnexpectedEOF))
		return 0
	}
	return int(n)
}

func (d *decoder) name(what string) string {
	n := d.length(what)
	at := d.off
	if d.bytes(what, n); d.err != nil {
		return ""
	}
	name, rest, ok := strings.Cut(d.text[at:at+n], "\x00")
	if name == "" || !ok || rest != "" {
		d.fail(at, what, ErrName)
	}
	return name
}

func (d *decoder) nameWithoutNUL(what string) string {
	n := d.length(what)
	at := d.off
	if d.bytes(what, n); d.err != nil {
		return ""
	}
	name := d.text[at : at+n]
	if name == "" || strings.Contains(name, "\x00") {
		d.fail(at, what, ErrName)
	}
	return name
}

func (d *decoder) buildID() []byte {
	at := d.off
	n := d.length("target build-id")
	if d.err == nil && n != buildIDSize {
		d.fail(at, "length of target build-id", fmt.Errorf("%d, want %d: %w", n, buildIDSize,
			ErrValue))
	}
	return append([]byte(nil), d.bytes("target build-id", n)...)
}

// encoder writes fields one after the other and keeps the first error.
type encoder struct {
	b     []byte
	start int
	err   error
}

func (e *encoder) fail(what string, err error) {
	if e.err == nil {
		e.err = &symtab.FormatError{Off: int64(len(e.b) - e.start), What: what, Err: err}
	}
}

func (e *encoder) head(m *Metadata, kind byte) {
	e.b = append(e.b, kind)
	e.b = append(e.b, m.PatchID[:]...)
	if m.Path != "" {
		e.name("container path", m.Path)
	}
	if len(m.Target.BuildID) != buildIDSize {
		e.fail("target build-id", fmt.Errorf("%d bytes, want %d: %w", len(m.Target.BuildID),
			buildIDSize, ErrValue))
	}
	e.u32("target build-id", len(m.Target.BuildID))
	e.b = append(e.b, m.Target.BuildID...)
}

func (e *encoder) checkName(what, s string) {
	if s == "" || strings.Contains(s, "\x00") {
		e.fail(what, ErrName)
	}
}

func (e *encoder) name(what, s string) {
	e.checkName(what, s)
	e.u32(what, len(s)+1)
	e.b = append(append(e.b, s...), 0)
}

func (e *encoder) u32(what string, n int) {
	if int64(n) > math.MaxUint32 {
		e.fail(what, fmt.Errorf("%d: %w", n, ErrValue))
	}
	e.b = binary.LittleEndian.AppendUint32(e.b, uint32(n))
}

func (e *encoder) u64(v uint64) { e.b = binary.LittleEndian.AppendUint64(e.b, v) }

func (e *encoder) done() ([]byte, error) {
	if e.err != nil {
		return nil, e.err
	}
	return e.b, nil
}
