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

// frames reads a library's unwind information; it is empty if there is none.
func (v *view) frames(ctx context.Context, l *process.Library) (*prove.Frames, error) {
	at, size, err := v.programHeader(ctx, l, elf.PT_GNU_EH_FRAME)
	if err != nil {
		return nil, err
	}
	return prove.ReadFrames(loaded{l, func(b []byte, addr uint64) error {
		_, err := v.m.ReadAt(ctx, b, addr)
		return err
	}}, at, size)
}
