package process

import (
	"context"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// Started returns an [ErrStarting] for a process whose dynamic loader has not loaded all that is
// needed. libraries are the process's. It is to be asked before a library that is not among them
// counts as not loaded.
//
// A loader that says that it is done is believed, unless it has loaded what is needed since
// libraries were listed, and so is what is mapped: a process that was forked while a thread of its
// parent loaded a library has a list that stays unfinished.
func (m *Memory) Started(ctx context.Context, libraries []*rtld.Library) error {
	_, err := with(ctx, m, "dynamic loader", func() (struct{}, error) {
		a, err := m.dir.auxv()
		if err == nil && !a.bits32 { // nothing of that is ever patched
			err = rtld.CheckStarted(reader{m}, libraries, a.loader(),
				func() ([]*rtld.Library, error) { return m.libraries(ctx) })
		}
		if intact := m.intact(); intact != nil {
			err = intact
		}
		return struct{}{}, err
	})
	return err
}
