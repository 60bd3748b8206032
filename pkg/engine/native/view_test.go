package native

import (
	"context"
	"debug/elf"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// forgedProcess is the memory of a process that has one library and one mapping of ours, both of
// any content.
type forgedProcess struct {
	lib  forged
	ours forged
}

func (p forgedProcess) ReadAt(ctx context.Context, b []byte, addr uint64) (int, error) {
	if addr >= forgedOurs {
		return p.ours.ReadAt(ctx, b, addr)
	}
	return p.lib.ReadAt(ctx, b, addr)
}

func (p forgedProcess) Libraries(context.Context) ([]*rtld.Library, error) {
	return nil, process.ErrMalformed
}

func (p forgedProcess) Mappings(context.Context, func(rtld.Mapping) bool) error {
	return process.ErrMalformed
}

func (p forgedProcess) MappingAt(context.Context, uint64) (rtld.Mapping, bool, error) {
	return rtld.Mapping{}, false, process.ErrMalformed
}

func (p forgedProcess) Symbols(context.Context, *rtld.Library) (*rtld.Symbols, error) {
	return nil, process.ErrMalformed
}

const (
	forgedLib  = 0x7f0000000000
	forgedOurs = 0x7f1000000000
)

// view returns a view of the forged process.
func (p forgedProcess) view() *view {
	end := forgedLib + pageUp(uint64(len(p.lib.data)))
	lib := &rtld.Library{Name: "libf.so", Bias: forgedLib, Class: elf.ELFCLASS64,
		Machine: elf.EM_X86_64, BuildID: []byte{1}, Segments: []rtld.Segment{
			{Start: forgedLib, End: end, Perm: rtld.PermRead | rtld.PermExec}}}
	v := blankView(nil, p, []*rtld.Library{lib})
	v.maps = []rtld.Mapping{{Start: forgedOurs, End: forgedOurs + pageUp(uint64(len(p.ours.data))),
		Perm: rtld.PermRead, Path: memoryPrefix + "x"}}
	return v
}

// FuzzView: any memory of a library, and of what is to be a table or a record of ours. Package rtld
// has the fuzz target for what the dynamic loader has there.
func FuzzView(f *testing.F) {
	tables, err := (&table{base: forgedOurs, buildID: []byte{1}, bias: forgedLib,
		patches: []activePatch{{base: 1, size: 2, serial: 3}}}).encode()
	if err != nil {
		f.Fatal(err)
	}
	head, err := (&patchRecord{Target: ulp.Target{Name: "libf.so", BuildID: []byte{1}},
		Container: "x", Base: forgedOurs, Size: pageSize, Table: forgedOurs}).encode()
	if err != nil {
		f.Fatal(err)
	}
	for _, ours := range [][]byte{nil, tables[0].data, head} {
		f.Add(make([]byte, pageSize), ours)
	}
	f.Fuzz(func(t *testing.T, lib, ours []byte) {
		v := forgedProcess{forged{forgedLib, lib}, forged{forgedOurs, ours}}.view()
		st, err := v.readState(t.Context())
		if err == nil {
			err = st.markUnloaded(t.Context(), v)
		}
		if err == nil && len(st.tables)+len(st.records) > 1 {
			t.Errorf("%d tables, %d records", len(st.tables), len(st.records))
		}
	})
}
