/* A library that is patched. */
#include <fcntl.h>
#include <unistd.h>
static volatile int secret = 100;
static volatile __thread int local = 7;
int one(void) { return 1; }
int uno(void) __attribute__((alias("one")));
#ifdef ONLY /* the only function with NOPs */
__attribute__((patchable_function_entry(16, 14)))
#endif
int two(void) { return 2; }
__attribute__((patchable_function_entry(0, 0))) int bare(void) { return 3; }
int sum(void) { return secret + local; }

/* Waits until a FIFO has been opened by a writer and closed again. */
int blocks(const char *fifo)
{
	char c;
	int fd = open(fifo, O_RDONLY);
	while (read(fd, &c, 1) > 0);
	close(fd);
	return 1;
}

#ifndef STOCK
/* Written by hand, with room for a jump that is on no list. */
asm(".text\n.skip 14, 0x90\n.globl byhand\n.type byhand, @function\nbyhand: .byte 0x66, 0x90\nmov $4, %eax\nret\n"
    ".size byhand, .-byhand\n");
#endif

#ifdef VERSIONS
/* What programs call that were linked long ago. */
int old_one(void) { return 9; }
__asm__(".symver old_one, one@V1");
#endif
