package native

import (
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/internal/hotpatch"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// TestOneNOP: entries whose two NOPs were merged into one instruction by `lpbuild ulp post`.
func TestOneNOP(t *testing.T) {
	lib := library(t, nopFlags, "-fcf-protection=none",
		"-Wl,--build-id=0x0123456789012345678901234567890123456701")
	image, err := os.ReadFile(lib)
	if err != nil {
		t.Fatal(err)
	}
	merged, err := ulp.MergeNOPs(image)
	if err != nil || merged.Merged == 0 {
		t.Fatal(merged, err)
	}
	program := target(t, lib)
	// others, and a second run, expect it as it was built
	t.Cleanup(func() { _ = os.WriteFile(lib, image, 0o755) })
	if err := os.WriteFile(lib, merged.Image, 0o755); err != nil {
		t.Fatal(err)
	}
	c := start(t, program, 2)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	before := c.snapshot()
	c.apply(Options{}, p)
	c.says("all", patched)
	c.cleared(before)
	c.says("all", original)
}

// TestSplitEntry: the two bytes of an entry are in two pages. At each step between the writes the
// function works.
func TestSplitEntry(t *testing.T) {
	for name, flags := range map[string][]string{"plain": nil, "one NOP": {"-DONE"},
		"landing": {"-DLANDING"}, "landing, one NOP": {"-DLANDING", "-DONE"}} {
		t.Run(name, func(t *testing.T) {
			lib := library(t, append([]string{nopFlags, "testdata/split.S"}, flags...)...)
			c := start(t, target(t, lib), 0)
			p := pack(t, lib, "split:first_lp\n", ulp.PackOptions{Force: true}, "testdata/patch.c")
			before := c.snapshot()
			steps := 0
			c.apply(Options{step: func(string) { steps++ }}, p)
			c.says("split", "2")
			c.cleared(before)
			c.says("split", "1")
			path := file(t, p)
			for n := range steps { // the engine is killed there
				_ = startEngine(t, c.pid, n, path).Run()
				if got := c.Ask("split"); got != "1" && got != "2" {
					t.Fatalf("killed at step %d: %q", n, got)
				}
				c.cleared(before)
				c.says("split", "1")
			}
		})
	}
}

// TestCodeEntries: a library without NOPs, all functions of which can be proven to be safe.
func TestCodeEntries(t *testing.T) {
	for name, flags := range map[string][]string{"plain": {"-fcf-protection=none"},
		"landing": {"-fcf-protection=branch"}} {
		t.Run(name, func(t *testing.T) {
			lib := library(t, flags...)
			c := start(t, target(t, lib), 2)
			p := pack(t, lib, "reads_secret:reads_secret_lp\ncalls:calls_lp\n#secret:ulpr_secret\n",
				ulp.PackOptions{Force: true}, "testdata/patch.c")
			c.says("calls", "ok")
			c.says("release", "6") // from now on there is a stack for another thread
			before := c.snapshot()
			c.apply(Options{Entries: symtab.EntriesAny}, p)
			c.says("all", "1 1 105 7 original")
			c.says("calls", "ok")
			c.says("release", "15")
			c.cleared(before)
			c.says("all", original)
			c.says("calls", "ok")
			c.says("release", "6")
		})
	}
}

// TestSeveralSegments: a branch from another segment with code into what a jump would replace is
// seen, near or far.
func TestSeveralSegments(t *testing.T) {
	for name, tc := range map[string]struct {
		to   string
		want error
	}{"into it": {"first + 1", ErrEntry}, "to it": {"first", nil}} {
		t.Run(name, func(t *testing.T) {
			far := filepath.Join(t.TempDir(), "far.s")
			text := ".section .far, \"ax\"\n.byte 0xe9\n.long " + tc.to +
				" - . - 4\n.section .note.GNU-stack\n"
			if err := os.WriteFile(far, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			lib := library(t, far, "-Wl,-Bsymbolic", "-Wl,--section-start=.far=0x200000")
			p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{Force: true}, "testdata/patch.c")
			c := start(t, target(t, lib), 0)
			if tc.want != nil {
				c.refused(Change{Apply: []*Patch{p}}, Options{Entries: symtab.EntriesAny}, tc.want)
				return
			}
			c.apply(Options{Entries: symtab.EntriesAny}, p)
			c.says("all", "2 1 5 7 original")
		})
	}
}

// TestCodeSite has assembly, and what the proof says to it.
func TestCodeSite(t *testing.T) {
	tests := map[string]struct{ code, want string }{
		"push and mov": {"push %rbp; mov %rsp,%rbp; sub $16,%rsp; leave; ret", ""},
		"behind endbr64": {"endbr64; push %rbp; mov %rsp,%rbp; sub $16,%rsp; leave; ret",
			""},
		"relative to itself": {"mov x(%rip),%eax; add $1,%eax; ret; x: .long 0xc3c3c3c3", ""},
		"jump through a GOT": {"mov $1,%eax; jmp *x(%rip); x: .quad 0xc3c3c3c3c3c3c3c3", ""},
		"short, and padding": {"xor %eax,%eax; ret; int3; int3", ""},
		"too short": {"xor %eax,%eax; ret",
			"the function has 3 bytes, and a jump needs 5"},
		"shorter": {"nop", "the function has 1 bytes, and a jump needs 5"},
		"call":    {"push %rbx; call 1f; 1: pop %rbx; ret", ""},
		"call of a register": {"push %rbx; call *%rax; pop %rbx; ret; nop",
			"a call within its first bytes"},
		"call of an argument": {"push %rbx; nop; nop; call *8(%rax); pop %rbx; ret", ""},
		"call through the stack": {"push %rbx; nop; nop; call *8(%rsp); pop %rbx; ret",
			"a call through the stack within its first bytes"},
		"endbr64": {"xor %eax,%eax; endbr64; ret; nop; nop",
			"endbr64 within its first bytes"},
		"system call": {"xor %eax,%eax; syscall; ret; nop; nop",
			"a system call within its first bytes"},
		"trap": {"xor %eax,%eax; hlt; ret; nop; nop",
			"a trap within its first bytes"},
		"conditional": {"test %edi,%edi; je 1f; mov $1,%eax; 1: ret", ""},
		"count": {"jrcxz 1f; mov $1,%eax; 1: ret",
			"a loop instruction within its first bytes"},
		"jump":         {"jmp 1f; nop; nop; nop; 1: mov $1,%eax; ret", ""},
		"loop in them": {"1: dec %edi; jne 1b; mov $1,%eax; ret", ""},
		"loop to the beginning": {"1: add $1,%rax; cmp %rdi,%rax; jne 1b; ret",
			"a branch in it leads into its first bytes (from +0x7 to +0x0)"},
		"loop into it": {"xor %eax,%eax; 1: add $1,%eax; cmp %edi,%eax; jne 1b; ret",
			"leads into its first bytes (from +0x7 to +0x2)"},
		"loop after vzeroupper": {"xor %eax,%eax; 1: add $1,%eax; vzeroupper; jne 1b; ret",
			"leads into its first bytes (from +0x8 to +0x2)"},
		"loop after vzeroall": {"xor %eax,%eax; 1: add $1,%eax; vzeroall; jmp 1b",
			"leads into its first bytes (from +0x8 to +0x2)"},
		"loop behind it": {"mov $1,%eax; 1: add $1,%eax; cmp %edi,%eax; jne 1b; ret", ""},
		"past lock": {"mov $1,%eax; test %edi,%edi; je 1f+1; 1: lock incl (%rdx); ret",
			""},
		"into an instruction": {"mov $1,%eax; test %edi,%edi; je 1f+1; 1: mov " +
			"$0xc3c3c3c3,%eax; ret", "leads between its instructions"},
		"itself":    {"push %rbx; mov %rdi,%rbx; nop; call .text; pop %rbx; ret", ""},
		"tail call": {"mov $1,%eax; jmp *%rax", ""},
		"jump table": {"mov $1,%eax; jmp *(%rdi,%rax,8)",
			"a jump in it through a table of pointers may lead to its beginning"},
		"computed": {"lea 1f(%rip),%rax; add %rdi,%rax; jmp *%rax; 1: ret",
			"a jump in it may lead anywhere in it"},
		"from its beginning": {"mov $1,%eax; lea .text(%rip),%rdx; movzbl (%rsi,%rdi),%ecx; " +
			"mov %rcx,%rax; add %rdx,%rax; nop; jmp *%rax", "a jump in it may lead anywhere in it"},
		"from another function": {"mov $1,%eax; movswq (%rsi,%rdi,2),%rax; lea (%rdx,%rax),%rcx; " +
			"jmp *%rcx", "a jump in it may lead anywhere in it"},
		"computed by a call": {"mov $1,%eax; call 1f; 1: pop %rax; add %rdi,%rax; jmp *%rax",
			"a jump in it may lead anywhere in it"},
		"unknown": {"mov $1,%eax; .byte 0xd5,0,0,0; ret", "an instruction in it is not known"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := siteOf(assemble(t, tc.code), 0x401000)
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want != "" && (!errors.Is(err, ErrEntry) ||
				!strings.Contains(err.Error(), tc.want)):
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
	if _, err := siteOf(assemble(t, tests["push and mov"].code),
		0x401ffd); !errors.Is(err, ErrEntry) {
		t.Errorf("across a page: %v", err)
	}
}

// siteOf is codeSite of a function of which nothing else is known.
func siteOf(code []byte, addr uint64) (*site, error) {
	return codeSite(&hotpatch.Text{Code: code, Addr: addr}, addr, uint64(len(code)), 0)
}

// assemble returns the code of some instructions.
func assemble(t *testing.T, code string) []byte {
	t.Helper()
	dir := t.TempDir()
	source, object := filepath.Join(dir, "x.s"), filepath.Join(dir, "x.o")
	if err := os.WriteFile(source, []byte(strings.ReplaceAll(code, ";", "\n")+"\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := exec.Command("as", "-o", object, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	f, err := elf.Open(object)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := f.Section(".text").Data()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestMoved compares moved instructions with what they were, by where they lead.
func TestMoved(t *testing.T) {
	s, err := siteOf(assemble(t, "mov 0x100(%rip),%eax; add $1,%eax; ret"), 0x401000)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.moved(0x501000)
	if err != nil {
		t.Fatal(err)
	}
	want := assemble(t, "mov 0x100-0x100000(%rip),%eax; jmp .text-0xffffa")
	if d := cmp.Diff(want, b); d != "" {
		t.Error(d)
	}
	if _, err := s.moved(0x200000000); !errors.Is(err, ErrNoRoom) {
		t.Errorf("too far: %v", err)
	}
}

// TestForeign: a function that somebody else leads elsewhere is left alone.
func TestForeign(t *testing.T) {
	lib := library(t, nopFlags)
	c := start(t, target(t, lib), 0)
	p := pack(t, lib, both, ulp.PackOptions{}, "testdata/patch.c")
	entry := addressOf(t, c, "first")
	mem, err := os.OpenFile("/proc/"+itoa(c.pid)+"/mem", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	s := site{entry: entry, kind: kindNOPs, n: atLen}
	writes, err := s.detour(addressOf(t, c, "second"))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range writes {
		if _, err := mem.WriteAt(w.data, int64(w.addr)); err != nil {
			t.Fatal(err)
		}
	}
	before := c.snapshot()
	if _, err := do(t.Context(), look(t, c.pid), Change{Apply: []*Patch{p}},
		Options{}); !errors.Is(err, ErrForeign) {
		t.Errorf("a function that is patched by another tool: %v", err)
	}
	// After that tool reverted, it leaves the jump before the entry.
	if _, err := mem.WriteAt([]byte{0x90, 0x90}, int64(entry)); err != nil {
		t.Fatal(err)
	}
	stale := c.snapshot()
	c.apply(Options{}, p)
	c.says("all", "2 2 5 7 original")
	// And the other way round: our detour was changed by somebody else.
	for b, want := range map[byte]error{0xea: ErrForeign, 0xcc: ErrProbe} {
		if _, err := mem.WriteAt([]byte{b}, int64(entry)); err != nil {
			t.Fatal(err)
		}
		if _, err := do(t.Context(), look(t, c.pid), Change{Revert: everyOne},
			Options{}); !errors.Is(err, want) {
			t.Errorf("a detour of ours that was changed: %v, want %v", err, want)
		}
	}
	if _, err := mem.WriteAt([]byte{0xeb}, int64(entry)); err != nil {
		t.Fatal(err)
	}
	other := pack(t, lib, "text:text_lp\n", ulp.PackOptions{}, "testdata/patch.c")
	c.apply(Options{}, other)
	c.revertOnly(p)
	// What is ours no more, though our table still knows it, hinders nothing.
	if _, err := mem.WriteAt([]byte{0xcc}, int64(entry)); err != nil {
		t.Fatal(err)
	}
	c.revertOnly(other)
	if _, err := mem.WriteAt([]byte{0x90}, int64(entry)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(stale, c.snapshot()); d != "" || stale == before {
		t.Errorf("not as before: %s", d)
	}
}
