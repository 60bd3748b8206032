// Functions without NOPs whose first bytes are of each shape that a jump can be written over. Each takes and returns a number.
	.text
	.macro function name
	.p2align 4
	.globl \name
	.type \name, @function
\name:	.cfi_startproc
#ifdef LANDING
	endbr64
#endif
	.endm
	.macro end name
	.cfi_endproc
	.size \name, . - \name
	.endm

	.p2align 4
helper:	.cfi_startproc
	lea 10(%rdi), %rax
	ret
	.cfi_endproc

	function s_branch
	test %rdi, %rdi
	je 1f
	lea 1(%rdi), %rax
	ret
1:	mov $77, %eax
	ret
	end s_branch

	function s_branches
	test %edi, %edi
	je 1f
	js 2f
	lea 1(%rdi), %rax
	ret
1:	mov $77, %eax
	ret
2:	mov $78, %eax
	ret
	end s_branches

	function s_near
	cmp $5, %edi
	jg s_near_elsewhere
	lea 1(%rdi), %rax
	ret
	end s_near

	function s_loop
1:	dec %edi
	jg 1b
	mov $5, %eax
	ret
	end s_loop

	function s_skip
	jmp 1f
	int3
	int3
	int3
1:	lea 3(%rdi), %rax
	ret
	end s_skip

	function s_tail
	jmp helper
	end s_tail

	function s_pointer
	jmp *pointer(%rip)
	end s_pointer

	function s_call
	sub $8, %rsp
	.cfi_adjust_cfa_offset 8
	call helper
	add $1, %rax
	add $8, %rsp
	.cfi_adjust_cfa_offset -8
	ret
	end s_call

	function s_call_first
	call helper
	add $2, %rax
	ret
	end s_call_first

	function s_call_pointer
	push %rbx
	.cfi_adjust_cfa_offset 8
	mov %rdi, %rbx
	call *pointer(%rip)
	add %rbx, %rax
	pop %rbx
	.cfi_adjust_cfa_offset -8
	ret
	end s_call_pointer

	function s_call_argument
	sub $8, %rsp
	.cfi_adjust_cfa_offset 8
	call *%rsi
	inc %rax
	add $8, %rsp
	.cfi_adjust_cfa_offset -8
	ret
	end s_call_argument

	function s_call_field
	push %rbp
	.cfi_adjust_cfa_offset 8
	mov %rsp, %rbp
	call *8(%rdx)
	pop %rbp
	.cfi_adjust_cfa_offset -8
	ret
	end s_call_field

	function s_short
	mov %edi, %eax
	ret
	end s_short

	function s_zero
	xor %eax, %eax
	ret
	end s_zero
	.fill 13, 1, 0xcc

	function s_rep
	mov %edi, %eax
	rep ret
	end s_rep

	function s_memory
	mov number(%rip), %rax
	add %rdi, %rax
	ret
	end s_memory

	function s_compare
	cmpl $0, number(%rip)
	je 1f
	lea 6(%rdi), %rax
	ret
1:	ud2
	end s_compare

	.section .text.unlikely, "ax", @progbits
s_near_elsewhere:
	.cfi_startproc
	mov $79, %eax
	ret
	.cfi_endproc

	.section .data.rel.ro, "aw", @progbits
	.balign 8
pointer: .quad helper
	.data
	.balign 8
number:	.quad 1000
	.section .note.GNU-stack, "", @progbits
