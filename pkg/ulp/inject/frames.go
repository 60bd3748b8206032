package inject

import (
	"context"
	"debug/elf"

	"github.com/lpbuild/lpbuild/pkg/ulp/internal/prove"
	"github.com/lpbuild/lpbuild/pkg/ulp/process"
)

// loaded is a library in a process, for package prove.
type loaded struct {
	*process.Library
	read func(b []byte, addr uint64) error
}

func (l loaded) Read(b []byte, addr uint64) error { return l.read(b, addr) }

// frameSize returns how long a function is by its unwind information; 0: not known.
func (v *view) frameSize(ctx context.Context, l *process.Library, entry uint64) (uint64, error) {
	at, size, err := v.programHeader(ctx, l, elf.PT_GNU_EH_FRAME)
	if err != nil {
		return 0, err
	}
	f, err := prove.ReadFrames(loaded{l, func(b []byte, addr uint64) error {
		_, err := v.m.ReadAt(ctx, b, addr)
		return err
	}}, at, size)
	if err != nil {
		return 0, err
	}
	return f.Size(entry)
}
