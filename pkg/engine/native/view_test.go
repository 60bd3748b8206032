package native

import (
	"context"
	"debug/elf"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// forgedProcess is the memory of a process that has one library and one mapping of ours, both of any content.
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

func (p forgedProcess) Symbols(context.Context, *rtld.Library) (*rtld.Symbols, error) {
	return nil, process.ErrMalformed
}

const (
	forgedLib  = 0x7f0000000000
	forgedOurs = 0x7f1000000000
	forgedFunc = forgedLib + 0x800 // an indirect function's resolver
)

// view returns a view of the forged process.
func (p forgedProcess) view() *view {
	end := forgedLib + pageUp(uint64(len(p.lib.data)))
	lib := &rtld.Library{Name: "libf.so", Bias: forgedLib, Class: elf.ELFCLASS64, Machine: elf.EM_X86_64, BuildID: []byte{1},
		Segments: []rtld.Segment{{Start: forgedLib, End: end, Perm: rtld.PermRead | rtld.PermExec}}}
	v := blankView(nil, p, []*rtld.Library{lib})
	v.spaces = []namespace{{{lib: lib}}}
	v.maps = []rtld.Mapping{{Start: forgedOurs, End: forgedOurs + pageUp(uint64(len(p.ours.data))), Perm: rtld.PermRead,
		Path: memoryPrefix + "x"}}
	return v
}

// elfOf returns a library with a dynamic section and one relocation, in one page.
func elfOf(kind elf.R_X86_64) []byte {
	b := make([]byte, pageSize)
	le.PutUint64(b[32:], 64) // program headers
	le.PutUint16(b[56:], 1)
	le.PutUint32(b[64:], uint32(elf.PT_DYNAMIC))
	le.PutUint64(b[64+16:], 0x200)
	le.PutUint64(b[64+40:], 5*16)
	for i, e := range [][2]uint64{
		{uint64(elf.DT_RELA), 0x400}, {uint64(elf.DT_RELASZ), relaSize}, {uint64(elf.DT_SYMTAB), 0x500}, {uint64(elf.DT_STRTAB), 0x600},
	} {
		le.PutUint64(b[0x200+16*i:], e[0])
		le.PutUint64(b[0x200+16*i+8:], e[1])
	}
	le.PutUint64(b[0x400:], 0x700) // the slot
	le.PutUint64(b[0x400+8:], uint64(kind)|1<<32)
	le.PutUint64(b[0x400+16:], forgedFunc-forgedLib)
	le.PutUint64(b[0x700:], forgedFunc+0x40)
	le.PutUint16(b[0x500+symbolSize+6:], 7)
	le.PutUint64(b[0x500+symbolSize+8:], forgedFunc-forgedLib)
	return b
}

// indirect is the forged library's indirect function.
func (v *view) indirect() binding {
	return binding{v.libs[0], rtld.Symbol{Name: "f", Addr: forgedFunc, Type: elf.STT_GNU_IFUNC}}
}

// TestForgedLibrary: what the fuzz target begins with is read as what it is.
func TestForgedLibrary(t *testing.T) {
	v := forgedProcess{lib: forged{forgedLib, elfOf(elf.R_X86_64_IRELATIVE)}}.view()
	if at, err := v.chosen(t.Context(), v.indirect()); err != nil || at != forgedFunc+0x40 {
		t.Errorf("an indirect function is at %#x, %v", at, err)
	}
	v = forgedProcess{lib: forged{forgedLib, elfOf(elf.R_X86_64_GLOB_DAT)}}.view()
	if at, err := v.variable(t.Context(), v.libs[0], forgedFunc); err != nil || at != forgedFunc+0x40 {
		t.Errorf("a variable is at %#x, %v", at, err)
	}
}

// FuzzView: any memory of a library, and of what is to be a table or a record of ours. Whatever is found lies in the library.
func FuzzView(f *testing.F) {
	tables, err := (&table{base: forgedOurs, buildID: []byte{1}, bias: forgedLib, layers: []layer{{base: 1, size: 2, serial: 3}}}).encode()
	if err != nil {
		f.Fatal(err)
	}
	head, err := (&record{Target: ulp.Target{Name: "libf.so", BuildID: []byte{1}}, Container: "x", Base: forgedOurs, Size: pageSize, Table: forgedOurs}).encode()
	if err != nil {
		f.Fatal(err)
	}
	for _, ours := range [][]byte{nil, tables[0].data, head} {
		f.Add(elfOf(elf.R_X86_64_IRELATIVE), ours)
		f.Add(elfOf(elf.R_X86_64_GLOB_DAT), ours)
	}
	f.Fuzz(func(t *testing.T, lib, ours []byte) {
		v := forgedProcess{forged{forgedLib, lib}, forged{forgedOurs, ours}}.view()
		if at, err := v.chosen(t.Context(), v.indirect()); err == nil && !executable(v.libs[0], at) {
			t.Errorf("an indirect function at %#x", at)
		}
		if at, err := v.variable(t.Context(), v.libs[0], forgedFunc); err == nil && !v.libs[0].Contains(at, 1) {
			t.Errorf("a variable at %#x", at)
		}
		st, err := v.readState(t.Context())
		if err == nil {
			err = st.settle(t.Context(), v)
		}
		if err == nil && len(st.tables)+len(st.records) > 1 {
			t.Errorf("%d tables, %d records", len(st.tables), len(st.records))
		}
	})
}
