package abi_test

import (
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lpbuild/lpbuild/internal/elfx"
	"github.com/lpbuild/lpbuild/pkg/abi"
)

// libcDebuginfo opens the debuginfo of this machine's C library.
func libcDebuginfo(t testing.TB) (*os.File, string) {
	t.Helper()
	libc, err := os.Open("/lib/x86_64-linux-gnu/libc.so.6")
	if err != nil {
		t.Skip("not a Debian machine with libc6-dbg: ", err)
	}
	defer libc.Close()
	e, err := elf.NewFile(libc)
	if err != nil {
		t.Fatal(err)
	}
	note, err := e.Section(".note.gnu.build-id").Data()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := elfx.BuildIDNote(note)
	if err != nil {
		t.Fatal(err)
	}
	id := hexString(raw)
	f, err := os.Open(filepath.Join("/usr/lib/debug/.build-id", id[:2], id[2:]+".debug"))
	if err != nil {
		t.Skip("the debuginfo of the C library is not installed (libc6-dbg): ", err)
	}
	t.Cleanup(func() { f.Close() })
	return f, id
}

func TestLibc(t *testing.T) {
	f, id := libcDebuginfo(t)
	facts, err := abi.Read(f, abi.Options{BuildID: id})
	if err != nil {
		t.Fatal(err)
	}
	if state := one(t, facts.Layout("struct malloc_state")); len(state.Members) < 10 ||
		filepath.Base(state.File) != "malloc.c" || state.Line == 0 {
		t.Errorf("%+v", state)
	}
	malloc := one(t, facts.Function("_int_malloc"))
	if len(malloc.Callers) == 0 || len(malloc.Symbols) == 0 || malloc.External ||
		len(malloc.Params) != 2 || malloc.Params[0].Type.Name != "mstate" {
		t.Errorf("%+v", malloc)
	}
	arena := slices.IndexFunc(facts.Variables, func(v abi.Variable) bool {
		return v.Name == "main_arena" && v.Type.Name == "struct malloc_state" && v.Address != 0
	})
	if arena < 0 {
		t.Error("no main_arena")
	}
}
