package libpulp

import "context"

// Messages returns what libpulp.so has written into its ring of messages, the oldest first, without
// stopping the process. Each message ends in a NUL, as it stands in the ring: `ulp messages` prints
// them so. They are untrusted, from the process. What is written meanwhile may be torn. A ring that
// is not one is an [*Error] with [ErrMalformed]; versions without a ring have no messages.
func (r *Runtime) Messages(ctx context.Context) ([]byte, error) {
	if r.sym.messages == 0 {
		return nil, nil
	}
	return r.ring(memory{ctx, r.mem})
}

func (r *Runtime) ring(rd reader) ([]byte, error) {
	var tail [ringTail]byte
	if err := rd.read(tail[:], r.sym.messages+r.sym.ring); err != nil {
		return nil, err
	}
	bottom, distance := uint64(le.Uint32(tail[4:])), uint64(le.Uint32(tail[8:]))
	if bottom >= r.sym.ring || distance > r.sym.ring {
		return nil, fault(ErrUnknown, malformed("oldest at %d, %d bytes of %d", bottom, distance,
			r.sym.ring), "ring of messages")
	}
	b := make([]byte, distance)
	first := b[:min(distance, r.sym.ring-bottom)]
	if err := rd.read(first, r.sym.messages+bottom); err != nil {
		return nil, err
	}
	return b, rd.read(b[len(first):], r.sym.messages)
}
