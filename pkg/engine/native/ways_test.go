package native

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// victim is a function in which .Lmid is within the first bytes; what is to be done to it follows.
const victim = `.text
	.globl victim
	.type victim, @function
victim:	.cfi_startproc
	push %rbx
AT
.Lmid:	mov %rdi, %rbx
	mov %rbx, %rax
	pop %rbx
	ret
	.cfi_endproc
	.size victim, . - victim
	.p2align 4
AFTER
	.section .note.GNU-stack, "", @progbits
`

// TestWaysIn: whatever may lead into the first bytes of a function keeps it from being replaced,
// for the gate of a build, which has the library's file, and for the engine, which has a process.
func TestWaysIn(t *testing.T) {
	const (
		other = "other: .cfi_startproc; BODY; .cfi_endproc; .size other, . - other; .type other, " +
			"@function\n"
		table = "lea table(%rip), %rdx; movslq (%rdx,%rdi,4), %rax; add %rdx, %rax; jmp *%rax"
	)
	for name, tc := range map[string]struct {
		at, after string
		flags     []string
		want      string // "": it can be replaced
		gate      bool   // nothing of it is in memory, where nothing leads there either
	}{
		"none": {"", strings.Replace(other, "BODY", "lea victim(%rip), %rax; ret",
			1), nil, "", false},
		"a function": {".globl inside; .type inside, @function; inside:", "", nil,
			"another symbol", false},
		"a symbol":       {".globl inside; inside:", "", nil, "another symbol", false},
		"a local symbol": {"inside:", "", nil, "another symbol", true},
		"an FDE": {".cfi_endproc; .cfi_startproc", "", nil, "another function begins",
			false},
		"a landing pad": {"", ".section .gcc_except_table, \"a\"\ntable: .byte 0xff, 0xff, 1; " +
			".uleb128 2f - 1f; 1: .uleb128 0, 7, 1, 0; 2:", nil, "a handler of exceptions",
			false},
		"a pointer": {"", ".section .data.rel.ro, \"aw\"; .balign 8; .quad .Lmid", nil,
			"a pointer", false},
		"a pointer, packed": {"", ".section .data.rel.ro, \"aw\"; .balign 8; .quad .Lmid",
			[]string{"-Wl,-z,pack-relative-relocs"}, "a pointer", false},
		"an address": {"", strings.Replace(other, "BODY", "lea .Lmid(%rip), %rax; ret", 1),
			nil, "a pointer", false},
		"another's table": {"", strings.Replace(other, "BODY", table, 1) +
			".section .rodata; .balign 4; table: .long 0f - table, .Lmid - table; .text; 0: ret",
			nil, "a pointer", false},
		"another's, harmless": {"", strings.Replace(other, "BODY", table+"; 0: ret", 1) +
			".section .rodata; .balign 4; table: .long 0b - table, 0b - table", nil, "", false},
		"a short branch": {"", strings.Replace(other, "BODY", "jmp .Lmid", 1), nil,
			"a branch elsewhere", false},
		"a number": {"", strings.Replace(other, "BODY", "mov $0xfffffee0eb, %rax; ret", 1), nil,
			"", false},
		"near": {"", strings.Replace(other, "BODY", ".byte 0xe9; .long .Lmid - . - 4", 1),
			nil, "a branch elsewhere", false},
		"no near one": {"", strings.Replace(other, "BODY", ".byte 0x48, 0xc7, 0xc0 + 0x40 - "+
			"0x40; .byte 0xe9, 0, 0, 0; ret", 1), nil, "", false},
		"a loop from afar": {"jmp cold", "back: ret; .section .text.unlikely, \"ax\"; cold: " +
			".cfi_startproc; dec %edi; jne victim; ret; .cfi_endproc", nil,
			"a part of it elsewhere", false},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.NewReplacer("AT", tc.at, "AFTER", tc.after).Replace(victim)
			if name == "a landing pad" {
				text = strings.Replace(text, "startproc\n", "startproc\n\t.cfi_personality 0x1b, "+
					"victim\n\t.cfi_lsda 0x1b, table\n", 1)
			}
			source := filepath.Join(t.TempDir(), "victim.s")
			if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			lib := library(t, append([]string{source, "-Wl,-Bsymbolic"}, tc.flags...)...)
			l, err := symtab.OpenLibrary(lib, symtab.LibraryOptions{Prove: true})
			if err != nil {
				t.Fatal(err)
			}
			f, _ := l.Function("victim")
			why, ok := l.EntryProof(f.Value)
			if !ok || (why == "") != (tc.want == "") || !strings.Contains(why, tc.want) {
				t.Errorf("the gate says %q, %t", why, ok)
			}
			p := pack(t, lib, "victim:first_lp\n", ulp.PackOptions{Force: true,
				Entries: symtab.EntriesAny, Unwinding: ulp.UnwindingNone}, "testdata/patch.c")
			c := start(t, target(t, lib), 0)
			switch {
			case tc.want == "" || tc.gate:
				before := c.snapshot()
				c.apply(Options{}, p)
				c.cleared(before)
			default:
				_, err := do(t.Context(), look(t, c.pid), Change{Apply: []*Patch{p}}, Options{})
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("the engine says %v", err)
				}
			}
		})
	}
}
