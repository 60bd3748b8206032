# What gcc -fpatchable-function-entry=14,13 -msplit-patch-nops makes: 13 NOPs before the global entry point and one at
# the local one. with_toc has a global entry point, leaf has not; without lacks the NOP at its local entry point.
	.abiversion 2
	.text

	.macro before name
	.section __patchable_function_entries,"awo",@progbits,\name
	.p2align 3
	.8byte .Lnops_\name
	.text
	.p2align 4
.Lnops_\name:
	.rept 13
	nop
	.endr
	.globl \name
	.type \name,@function
\name:
	.endm

	before with_toc
0:	addis 2,12,.TOC.-0b@ha
	addi 2,2,.TOC.-0b@l
	.localentry with_toc,.-with_toc
	nop
	blr
	.size with_toc,.-with_toc

	before leaf
	nop
	blr
	.size leaf,.-leaf

	before without
0:	addis 2,12,.TOC.-0b@ha
	addi 2,2,.TOC.-0b@l
	.localentry without,.-without
	blr
	.size without,.-without
