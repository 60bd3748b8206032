package libpulp

import "bytes"

// write is one write into the process's memory.
type write struct {
	addr uint64
	data []byte
}

func (w write) equal(o write) bool { return w.addr == o.addr && bytes.Equal(w.data, o.data) }

// header is the beginning of the instruction queue.
type header struct{ version, count, size int32 }

// pending is how many instructions are waiting, at least 1 if anything is.
func (h header) pending() int {
	if h.count == 0 && h.size == 0 {
		return 0
	}
	return max(int(h.count), 1)
}

func (r *Runtime) queueHeader(rd reader) (header, error) {
	var b [queueHeader]byte
	err := rd.read(b[:], r.sym.queue)
	return header{int32(le.Uint32(b[:])), int32(le.Uint32(b[4:])), int32(le.Uint32(b[8:]))}, err
}

// queue reads the writes that libpulp.so asks for.
func (r *Runtime) queue(rd reader) ([]write, error) {
	h, err := r.queueHeader(rd)
	if err != nil {
		return nil, err
	}
	switch {
	case h.version > queueVersion || h.version < 0:
		return nil, verdict(ErrOldTool, "the queue in the process has version %d, known is %d",
			h.version, queueVersion)
	case h.size < 0 || h.count < 0 || uint64(h.size) > r.sym.queueRoom:
		return nil, fault(ErrQueue, ErrMalformed, "%d instructions in %d bytes", h.count, h.size)
	}
	b := make([]byte, h.size)
	if err := rd.read(b, r.sym.queue+queueHeader); err != nil {
		return nil, err
	}
	writes, err := parseQueue(b, int(h.count))
	if err != nil {
		return nil, fault(ErrQueue, err, "instruction queue")
	}
	return writes, nil
}

// Kinds of instructions. Each begins with its kind in one byte and its size, all of it, in three.
const (
	insnNOP   = 0
	insnPrint = 1
	insnWrite = 2

	insnHead  = 4
	writeHead = 16 // kind and size, u32 length, u64 address
)

// parseQueue decodes count instructions that fill b. The writes refer to b. What a print says is
// left out.
func parseQueue(b []byte, count int) ([]write, error) {
	var list []write
	for n := range count {
		if len(b) < insnHead {
			return nil, malformed("instruction %d of %d is missing", n+1, count)
		}
		size := int(le.Uint32(b) >> 8)
		if b[0] == insnNOP {
			size = insnHead
		}
		if size < insnHead || size > len(b) {
			return nil, malformed("instruction %d has %d bytes, %d are left", n+1, size, len(b))
		}
		insn := b[:size]
		b = b[size:]
		switch insn[0] {
		case insnNOP, insnPrint:
		case insnWrite:
			if size < writeHead || uint64(le.Uint32(insn[4:])) > uint64(size-writeHead) {
				return nil, malformed("write of more than its instruction has")
			}
			list = append(list, write{le.Uint64(insn[8:]), insn[writeHead:][:le.Uint32(insn[4:])]})
		default:
			return nil, malformed("instruction of kind %d", insn[0])
		}
	}
	if len(b) > 0 {
		return nil, malformed("%d bytes behind the last instruction", len(b))
	}
	return list, nil
}
