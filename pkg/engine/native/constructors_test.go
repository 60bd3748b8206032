package native

import (
	"errors"
	"strings"
	"testing"
)

// TestJumpingConstructors: a constructor that is nothing but a jump looks as gcc's frame_dummy
// does, which jumps to register_tm_clones and may be left out. Where it leads to tells them apart.
func TestJumpingConstructors(t *testing.T) {
	const work = `static int done;
__attribute__((used, noinline)) static void work(void) { done = 1; }
int f(void) { return done; }
`
	// What register_tm_clones begins with, up to the comparison that says that there is nothing to
	// be done.
	const clones = "work_: lea done(%rip), %rdi; lea done(%rip), %rsi; sub %rdi, %rsi; ret;"
	for name, tc := range map[string]struct {
		code string // of begin, which is the constructor
		good bool
	}{
		"far":          {"jmp work", false},
		"near":         {".byte 0xeb, near - . - 1; nop; near: movl $1, done(%rip); ret", false},
		"with a frame": {"push %rbp; mov %rsp, %rbp; pop %rbp; jmp work", false},
		"with a frame, near": {"push %rbp; mov %rsp, %rbp; pop %rbp; .byte 0xeb, near - . - 1; " +
			"nop; near: movl $1, done(%rip); ret", false},
		"with a landing mark": {"endbr64; jmp work", false},
		"to a place outside":  {".byte 0xe9, 0, 0, 0, 0x40", false},
		"as gcc's":            {".byte 0xe9; .long work_ - . - 4; " + clones, true},
		"as gcc's, near":      {".byte 0xeb, work_ - . - 1; nop;" + clones, true},
		"as gcc's, with a landing mark": {
			"endbr64; .byte 0xe9; .long work_ - . - 4; work_: endbr64;" +
				strings.TrimPrefix(clones, "work_:"), true},
		"as gcc's before 8": {"push %rbp; mov %rsp, %rbp; pop %rbp; .byte 0xe9; .long " +
			"work_ - . - 4; " + clones, true},
		"as gcc's, but not quite": {".byte 0xe9; .long work_ - . - 4; work_: nop;" +
			strings.TrimPrefix(clones, "work_:"), false},
		"as others'": {".byte 0xe9; .long work_ - . - 4; work_: lea done(%rip), %rdi; lea " +
			"done(%rip), %rax; cmp %rdi, %rax; ret", true},
		"with another one behind": {".byte 0xe9; .long work_ - . - 4;" + clones +
			`.pushsection .init_array, \"aw\", @init_array; .quad begin; .quad work; .popsection`,
			false},
	} {
		t.Run(name, func(t *testing.T) {
			source := work + `asm(".text; begin: ` + tc.code +
				`\n.section .init_array, \"aw\", @init_array\n.quad begin\n.text");`
			_, err := prepare(container(t, source, "-nostartfiles"), "")
			if tc.good && err != nil || !tc.good && (!errors.Is(err, ErrContainer) ||
				!strings.Contains(err.Error(), "constructors")) {
				t.Errorf("refused: %v, want %t", err, !tc.good)
			}
		})
	}
}
