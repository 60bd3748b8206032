package tracer

import "sync"

// scratch is memory for what is made while the target is stopped. Fresh memory comes from the
// kernel page by page, and that takes longer than all that is written into it; so it is there, and
// was touched, before.
type scratch struct {
	b     []byte // what is left
	whole []byte
}

// scratchSize is enough for one excursion with many calls.
const scratchSize = 64 << 10

var scratches = sync.Pool{New: func() any {
	b := make([]byte, scratchSize)
	for i := 0; i < len(b); i += 1 << 10 {
		b[i] = 1 // its page is there
	}
	return &scratch{whole: b, b: b[:0]}
}}

func newScratch() *scratch {
	s := scratches.Get().(*scratch)
	clear(s.whole[:len(s.whole)-len(s.b)]) // what was taken
	s.b = s.whole
	return s
}

// done gives the memory back, when nothing needs any more what was made in it.
func (s *scratch) done() { scratches.Put(s) }

// take returns n bytes, all zero, from it, or fresh ones when it is used up.
func (s *scratch) take(n int) []byte {
	if s == nil || n > len(s.b) {
		return make([]byte, n)
	}
	b := s.b[:n:n]
	s.b = s.b[n:]
	return b
}

// growStack makes the stack of the calling goroutine large enough for whatever is done while the
// target is stopped: to move a stack that is too small takes its time.
//
//go:noinline
func growStack() byte {
	var b [48 << 10]byte
	for i := 0; i < len(b); i += 1 << 10 {
		b[i] = byte(i)
	}
	return b[len(b)-1]
}
