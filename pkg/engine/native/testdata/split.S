# A function whose two NOPs lie in two pages; with LANDING behind endbr64, with ONE as one instruction.
	.text
	.p2align 12
#ifdef LANDING
	.skip 4096 - 1 - 4 - 14
#else
	.skip 4096 - 1 - 14
#endif
	.rept 14
	nop
	.endr
	.globl split
	.type split, @function
split:
#ifdef LANDING
	endbr64
#endif
#ifdef ONE
	.byte 0x66, 0x90
#else
	nop
	nop
#endif
	mov $1, %eax
	ret
	.size split, . - split
	.p2align 12
	.section .note.GNU-stack,"",@progbits
