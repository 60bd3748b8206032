package libpulp

import (
	"bytes"
	"context"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// early says that libpulp.so is of a version before 0.3. Some of these, on reverting a patch that
// is not the newest, leave its freed memory in their list.
func (r *Runtime) early() bool { return r.sym.queue == 0 && r.Version == "" }

// knowsEndbr64 reports whether libpulp.so knows functions that begin with endbr64. Versions before
// May 2022 write their jump over it, and only a half of that back. The others have the bytes that
// belong there in their data.
func (r *Runtime) knowsEndbr64(ctx context.Context) bool {
	want := append(bytes.Clone(endbr64[:]), 0xeb, 0xec)
	for _, s := range r.Library.Segments {
		if !s.File || s.Perm&rtld.PermExec != 0 || s.End-s.Start > 1<<20 {
			continue
		}
		b := make([]byte, s.End-s.Start)
		if _, err := r.mem.ReadAt(ctx, b, s.Start); err == nil && bytes.Contains(b, want) {
			return true
		}
	}
	return false
}
