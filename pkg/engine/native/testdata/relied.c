// A library, the program, or the live patch: the library's caller relies on what its compiler knows of the function that it calls.
#if defined PROGRAM
#include <stdio.h>

long caller(long *n);

int main(void)
{
	char line[64];
	long n = 5;
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		printf("%ld\n", caller(&n));
		fflush(stdout);
	}
	return 0;
}
#elif defined PATCH
long callee_lp(long n)
{
	asm volatile("xor %%ecx,%%ecx; xor %%edx,%%edx; xor %%esi,%%esi; xor %%edi,%%edi; xor %%r8d,%%r8d; xor %%r9d,%%r9d; "
		     "xor %%r10d,%%r10d; xor %%r11d,%%r11d" ::: "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11");
	return 2;
}
#else
asm(".text; .skip 256"); // no short branch of the startup code comes near
long callee(long n);
extern __typeof(callee) own __attribute__((alias("callee"), visibility("hidden"))); // as glibc's functions call each other
__attribute__((noinline)) long callee(long n) { asm volatile("nop; nop"); return n * 2 % 9; }
long caller(long *n) { return own(*n) + *n; }
#endif
