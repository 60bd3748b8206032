package process

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"golang.org/x/sys/unix"
)

// maxAltered is how many bytes of code the pages are looked at of.
const maxAltered = 1 << 30

// Altered returns the addresses of the pages of a segment whose contents are not the file's, but
// the process's own: something wrote there. That is how a debugger, the kernel's uprobes and live
// patches change code.
func (m *Memory) Altered(ctx context.Context, s rtld.Segment) ([]uint64, error) {
	if s.End-s.Start > maxAltered {
		return nil, fmt.Errorf("%d bytes of code: %w", s.End-s.Start, ErrLimit)
	}
	return with(ctx, m, "pagemap", func() ([]uint64, error) {
		pm, err := m.pagemap()
		if err != nil {
			return nil, err
		}
		var list []uint64
		var b [4096]byte
		for at := s.Start; at < s.End; {
			want := b[:min(uint64(len(b)), (s.End-at)/pageSize*8)]
			n, err := unix.Pread(int(pm), want, int64(at/pageSize*8))
			if err != nil || n == 0 || n%8 != 0 {
				return nil, cmp.Or(err, io.ErrUnexpectedEOF)
			}
			for entries := want[:n]; len(entries) > 0; entries = entries[8:] {
				if e := le.Uint64(entries); e&(pagePresent|pageSwapped) != 0 && e&pageOfFile == 0 {
					list = append(list, at)
				}
				at += pageSize
			}
		}
		return list, m.used()
	})
}
