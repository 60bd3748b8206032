package native

import (
	"fmt"
	"hash/crc32"
	"time"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// patchRecord is what a live patch says about itself in the process, before its mapping, so
// that any later run of any version can list and revert it.
type patchRecord struct {
	PatchID   [32]byte
	Target    ulp.Target
	Container string
	Comments  string
	Time      time.Time
	Base      uint64 // of the mapping, record included
	Size      uint64
	Table     uint64 // address of the library's table
	Functions []replaced
	Code      []extent // from Base on; records of earlier versions do not say
}

// replaced is a function in a record.
type replaced struct {
	Old, New    string
	Slot        uint32
	Entry       uint64 // address of the old function
	Replacement uint64 // address of the new one
}

// The record begins with a magic, its length and a checksum of what follows.
const (
	recordHead = 16
	maxRecord  = 256 << 10
	maxCode    = 128 // segments of code; real containers have one
)

func (r *patchRecord) encode() ([]byte, error) {
	b := make([]byte, recordHead)
	b = append(b, r.PatchID[:]...)
	b = appendText(b, string(r.Target.BuildID))
	for _, s := range []string{r.Target.Name, r.Container, r.Comments} {
		b = appendText(b, s)
	}
	for _, v := range []uint64{uint64(r.Time.Unix()), r.Base, r.Size, r.Table} {
		b = le.AppendUint64(b, v)
	}
	b = le.AppendUint32(b, uint32(len(r.Functions)))
	for _, f := range r.Functions {
		b = appendText(appendText(b, f.Old), f.New)
		b = le.AppendUint32(b, f.Slot)
		b = le.AppendUint64(le.AppendUint64(b, f.Entry), f.Replacement)
	}
	b = le.AppendUint32(b, uint32(len(r.Code)))
	for _, c := range r.Code {
		b = le.AppendUint64(le.AppendUint64(b, c.off), c.size)
	}
	if len(b) > maxRecord {
		return nil, fmt.Errorf("record of %d bytes: %w", len(b), ErrLimit)
	}
	return seal(b, recordMagic), nil
}

// seal fills in a record's head.
func seal(b []byte, magic string) []byte {
	copy(b, magic)
	le.PutUint32(b[8:], uint32(len(b)))
	putSum(b[12:], b[recordHead:])
	return b
}

// putSum writes the checksum of some bytes.
func putSum(to, of []byte) { le.PutUint32(to, crc32.ChecksumIEEE(of)) }

func appendText(b []byte, s string) []byte {
	return append(le.AppendUint32(b, uint32(len(s))), s...)
}

// recordLength returns how long a record is, by its head.
func recordLength(head []byte) (int, error) {
	if len(head) < recordHead || string(head[:8]) != recordMagic &&
		string(head[:8]) != oldRecordMagic {
		return 0, fmt.Errorf("record of a live patch: %w", ErrDamaged)
	}
	n := int(le.Uint32(head[8:]))
	if n < recordHead || n > maxRecord {
		return 0, fmt.Errorf("record of a live patch: %w", ErrDamaged)
	}
	return n, nil
}

// parseRecord reads a record that lies at base. The process may have written anything there.
func parseRecord(b []byte, base uint64) (*patchRecord, error) {
	n, err := recordLength(b)
	if err != nil {
		return nil, err
	}
	damaged := fmt.Errorf("record of a live patch at %#x: %w", base, ErrDamaged)
	if len(b) < n || le.Uint32(b[12:]) != crc32.ChecksumIEEE(b[recordHead:n]) {
		return nil, damaged
	}
	d := decoder{b: b[recordHead:n]}
	r := &patchRecord{}
	copy(r.PatchID[:], d.take(32))
	r.Target.BuildID = []byte(d.text(maxIDLen))
	r.Target.Name, r.Container, r.Comments = d.text(maxName), d.text(maxName), d.text(maxComments)
	r.Time = time.Unix(int64(d.u64()&(1<<40-1)), 0).UTC()
	r.Base, r.Size, r.Table = d.u64(), d.u64(), d.u64()
	count := d.u32()
	if count > maxSlots {
		return nil, damaged
	}
	for range count {
		f := replaced{Old: d.text(maxName), New: d.text(maxName), Slot: d.u32(), Entry: d.u64(),
			Replacement: d.u64()}
		if f.Slot >= maxSlots || f.Replacement-r.Base >= r.Size {
			return nil, damaged
		}
		r.Functions = append(r.Functions, f)
	}
	if string(b[:8]) == recordMagic && !r.takeCode(&d) {
		return nil, damaged
	}
	if d.bad || len(d.b) != 0 || r.Base != base || r.Size > maxSpan+maxAlign+2*maxRecord ||
		r.Base%pageSize != 0 || r.Size%pageSize != 0 {
		return nil, damaged
	}
	return r, nil
}

// takeCode reads where the code is.
func (r *patchRecord) takeCode(d *decoder) bool {
	count := d.u32()
	if count > maxCode {
		return false
	}
	for range count {
		c := extent{d.u64(), d.u64()}
		if c.off > r.Size || c.size > r.Size-c.off {
			return false
		}
		r.Code = append(r.Code, c)
	}
	return true
}

// decoder takes values off a buffer. After the first that is not there, all are zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.bad, d.b = true, nil
		return make([]byte, min(n, 32))
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) u32() uint32 { return le.Uint32(d.take(4)) }
func (d *decoder) u64() uint64 { return le.Uint64(d.take(8)) }

func (d *decoder) text(most int) string {
	n := d.u32()
	if n > uint32(most) {
		d.bad, d.b = true, nil
		return ""
	}
	if b := d.take(int(n)); !d.bad {
		return string(b)
	}
	return ""
}
