# long keeps(long *p, volatile int *go): has p nowhere but below its stack pointer until go is set; returns *p.
	.globl keeps
	.type keeps, @function
keeps:
	mov %rdi, -16(%rsp)
	xor %edi, %edi
	xor %eax, %eax
	movl $1, 4(%rsi)
1:	pause
	cmpl $0, (%rsi)
	je 1b
	mov -16(%rsp), %rax
	mov (%rax), %rax
	ret
	.size keeps, .-keeps
	.section .note.GNU-stack,"",@progbits
