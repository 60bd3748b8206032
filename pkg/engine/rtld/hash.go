package rtld

import "sync"

// hashTable is a hash table of symbols in memory. Besides finding names it is the only thing that
// tells how many symbols there are.
type hashTable interface {
	// candidates calls f with the rows that may have the name, until it returns true.
	candidates(r Reader, name string, f func(row uint64) (bool, error)) error
	// count returns the number of rows.
	count(r Reader) (uint64, error)
}

func openHash(r Reader, l *Library) (hashTable, error) {
	switch d := l.dynamic; {
	case d.gnuHash != 0:
		return openGNU(r, l, d.gnuHash)
	case d.hash != 0:
		return openSysV(r, l, d.hash)
	}
	return nil, malformed("no hash table in the image")
}

// wordBuffer is how many bytes of hash tables are read at once.
const wordBuffer = 512

var wordBuffers = sync.Pool{New: func() any { return new([wordBuffer]byte) }}

// words reads 32-bit numbers that must be in the library.
func (l *Library) words(r Reader, addr uint64, to []uint32) error {
	b := wordBuffers.Get().(*[wordBuffer]byte)
	defer wordBuffers.Put(b)
	for len(to) > 0 {
		n := min(len(to), len(b)/4)
		if !l.Contains(addr, uint64(4*n)) {
			return malformed("hash table outside of the image")
		}
		if err := readFull(r, b[:4*n], addr); err != nil {
			return err
		}
		for i := range n {
			to[i] = le.Uint32(b[4*i:])
		}
		to, addr = to[n:], addr+uint64(4*n)
	}
	return nil
}

// gnuTable is DT_GNU_HASH: buckets with the first row of each, and for each row from first on its
// hash, whose lowest bit ends a bucket's rows.
type gnuTable struct {
	l                *Library
	buckets, bucketN uint64
	chain, first     uint64
}

func openGNU(r Reader, l *Library, addr uint64) (*gnuTable, error) {
	var h [4]uint32 // number of buckets, first row, words of the Bloom filter, its shift
	if err := l.words(r, addr, h[:]); err != nil {
		return nil, err
	}
	t := &gnuTable{l: l, bucketN: uint64(h[0]), first: uint64(h[1])}
	t.buckets = addr + 16 + 8*uint64(h[2])
	t.chain = t.buckets + 4*t.bucketN
	if t.bucketN == 0 || t.bucketN > maxSymbols || t.first > maxSymbols ||
		!l.Contains(t.buckets, 4*t.bucketN) {
		return nil, malformed("GNU hash table outside of the image")
	}
	return t, nil
}

func (t *gnuTable) candidates(r Reader, name string, f func(uint64) (bool, error)) error {
	h := uint32(5381)
	for _, c := range []byte(name) {
		h = h*33 + uint32(c)
	}
	var row [1]uint32
	if err := t.l.words(r, t.buckets+4*(uint64(h)%t.bucketN), row[:]); err != nil || row[0] == 0 {
		return err
	}
	return t.walk(r, uint64(row[0]), func(i uint64, hash uint32) (bool, error) {
		if hash|1 != h|1 {
			return false, nil
		}
		return f(i)
	})
}

// walk calls f with the rows of a bucket and their hashes, until it returns true.
func (t *gnuTable) walk(r Reader, row uint64, f func(i uint64, hash uint32) (bool, error)) error {
	if row < t.first {
		return malformed("bucket outside of the GNU hash table")
	}
	for range maxChain {
		var hash [1]uint32
		if err := t.l.words(r, t.chain+4*(row-t.first), hash[:]); err != nil {
			return err
		}
		if done, err := f(row, hash[0]); done || err != nil || hash[0]&1 != 0 {
			return err
		}
		row++
	}
	return malformed("bucket without an end")
}

func (t *gnuTable) count(r Reader) (uint64, error) {
	var b [128]uint32
	last := uint64(0)
	for i := uint64(0); i < t.bucketN; i += uint64(len(b)) {
		part := b[:min(uint64(len(b)), t.bucketN-i)]
		if err := t.l.words(r, t.buckets+4*i, part); err != nil {
			return 0, err
		}
		for _, row := range part {
			last = max(last, uint64(row))
		}
	}
	if last == 0 {
		return t.first, nil // nothing is defined
	}
	err := t.walk(r, last, func(i uint64, _ uint32) (bool, error) {
		last = i
		return false, nil
	})
	if err == nil && last >= maxSymbols {
		err = ErrLimit
	}
	if err != nil {
		return 0, err
	}
	return last + 1, nil
}

// sysvTable is DT_HASH: buckets with the first row of each, and for each row the next one.
type sysvTable struct {
	l                        *Library
	buckets, bucketN, chainN uint64
}

func openSysV(r Reader, l *Library, addr uint64) (*sysvTable, error) {
	var h [2]uint32
	if err := l.words(r, addr, h[:]); err != nil {
		return nil, err
	}
	t := &sysvTable{l: l, buckets: addr + 8, bucketN: uint64(h[0]), chainN: uint64(h[1])}
	if t.bucketN == 0 || t.bucketN > maxSymbols || t.chainN > maxSymbols ||
		!l.Contains(t.buckets, 4*(t.bucketN+t.chainN)) {
		return nil, malformed("hash table outside of the image")
	}
	return t, nil
}

func (t *sysvTable) candidates(r Reader, name string, f func(uint64) (bool, error)) error {
	var h uint32
	for _, c := range []byte(name) {
		h = h<<4 + uint32(c)
		h = (h ^ h>>24&0xf0) & 0x0fff_ffff
	}
	row := []uint32{0}
	if err := t.l.words(r, t.buckets+4*(uint64(h)%t.bucketN), row); err != nil {
		return err
	}
	for range min(t.chainN, maxChain) {
		i := uint64(row[0])
		switch {
		case i == 0:
			return nil
		case i >= t.chainN:
			return malformed("row outside of the hash table")
		}
		if done, err := f(i); done || err != nil {
			return err
		}
		if err := t.l.words(r, t.buckets+4*(t.bucketN+i), row); err != nil {
			return err
		}
	}
	if row[0] != 0 {
		return malformed("bucket without an end")
	}
	return nil
}

func (t *sysvTable) count(Reader) (uint64, error) { return t.chainN, nil }
