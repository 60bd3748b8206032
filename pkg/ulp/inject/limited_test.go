package inject

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/arch/x86/x86asm"
	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// limited starts a process under limits.
func limited(t *testing.T, lib string, limits ...string) *child {
	t.Helper()
	program := gcc(t, "limited", "testdata/limited.c", lib, "-pthread", "-Wl,-rpath,"+filepath.Dir(lib))
	c := &child{Process: targettest.Start(t, exec.Command(program, limits...)), t: t}
	if _, err := fmt.Sscan(c.Line(), &c.pid); err != nil {
		t.Skipf("%q: the kernel does not let a process have these limits", limits)
	}
	return c
}

// TestWaysUnderLimits: each way to load, under each limit that could make one of its calls fail or raise a signal. The process is
// patched, or it is refused and the process is as it was; no signal comes. See the table in doc.go.
func TestWaysUnderLimits(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the limits are set by root")
	}
	lib := library(t, nopFlags)
	variables := pack(t, lib, both, ulp.PackOptions{}, "testdata/patch.c")
	constant := pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, source(t, "", "2"), "-nostdlib", "-Wl,-z,relro,-z,now")
	type row struct {
		limits    string
		anonymous error // nil: it is patched
		file      error
	}
	rows := []row{
		{"", nil, nil},
		{"data=0", unix.ENOMEM, unix.ENOMEM},
		{"stack=16384", nil, nil},
		{"nofile=0", nil, unix.EMFILE},
		{"memlock=4096", unix.EAGAIN, ErrRefused},
		{"mdwe", nil, nil},
		{"noexec=0", nil, nil},
		{"noexec=1", nil, nil},
		{"noexec=2", nil, nil},
		{"chromium", nil, nil},
		{"chromium busy", nil, nil},
		{"nomap", ErrSeccomp, ErrSeccomp},
		{"xom", nil, nil},
		{"xom busy", nil, nil},
	}
	for _, size := range []string{"fsize=0", "fsize=8192"} {
		for _, more := range []string{"", " busy", " handler", " busy handler"} {
			rows = append(rows, row{size + more, nil, ErrRefused})
		}
	}
	for _, r := range rows {
		for way, want := range map[string]error{"": r.anonymous, "memfd": r.file} {
			for _, oneByOne := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/%v", r.limits, way, oneByOne), func(t *testing.T) {
					c := limited(t, lib, strings.Fields(r.limits)...)
					c.says("", "1")
					before := c.snapshot()
					o := Options{load: way, oneByOne: oneByOne}
					if want != nil {
						why := []error{want}
						if !errors.Is(want, ErrSeccomp) {
							why = append(why, ErrRefused)
						}
						c.refused(Change{Apply: []*Patch{variables}}, o, why...)
						c.says("", "1")
						if d := cmp.Diff(before, c.snapshot()); d != "" {
							t.Errorf("it is not as before: %s", d)
						}
						return
					}
					c.apply(o, variables)
					c.says("", "2")
					c.cleared(before)
					c.says("", "1")
				})
			}
		}
	}
	c := limited(t, lib, "data=0") // counts variables, of which this one has none
	c.apply(Options{}, constant)
	c.says("", "2")
}

// TestDetoursReadNoCode: no instruction of a detour has an operand in memory, which for execute-only code would be SIGSEGV.
func TestDetoursReadNoCode(t *testing.T) {
	const entry = 0x7f0000001000
	for _, stub := range []uint64{entry + 1<<20, entry - 1<<30, 0x100000000000} {
		for _, s := range []*site{
			{entry: entry, kind: kindNOPs, n: atLen},
			{entry: entry, kind: kindNOPs, n: atLen, landing: true},
			{entry: entry + pageSize - 1, kind: kindSplit, n: atLen},
			{entry: entry, kind: kindCode, n: nearLen},
		} {
			writes, err := s.detour(stub)
			if errors.Is(err, ErrNoRoom) && s.kind != kindNOPs {
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			for b := writes[0].data; len(b) > 0; {
				in, err := x86asm.Decode(b, 64)
				if err != nil {
					t.Fatalf("% x: %v", b, err)
				}
				for _, a := range in.Args {
					if _, memory := a.(x86asm.Mem); memory {
						t.Errorf("kind %d, to %#x: %v", s.kind, stub, in)
					}
				}
				b = b[in.Len:]
			}
			_, have := s.window(stub, true)
			if led, ok := s.led(have, stub); !led || !ok {
				t.Errorf("kind %d, to %#x: what was written is not known again", s.kind, stub)
			}
		}
	}
}

// TestOlderDetour: what an earlier version wrote is known again, and taken back.
func TestOlderDetour(t *testing.T) {
	s := &site{entry: 0x7f0000001000, kind: kindNOPs, n: atLen}
	copy(s.before[:], nops)
	copy(s.at[:], twoNOPs)
	at, have := s.window(0, false)
	for _, w := range s.overNOPs(oldNOPJump(0x7f0000100000)) {
		copy(have[w.addr-at:], w.data)
	}
	if led, ok := s.led(have, 0x7f0000100000); !led || !ok {
		t.Error("not known again")
	}
	if led, ok := s.led(have, 0x7f0000100040); led || ok {
		t.Error("it leads elsewhere")
	}
}
