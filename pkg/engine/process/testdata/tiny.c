// The smallest process that has a patchable library: no libc. It ends when its standard input does.
extern int value(void);

#if defined __i386__
static long read_byte(char *c)
{
	long r;
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(3), "b"(0), "c"(c), "d"(1) : "memory");
	return r;
}
static void leave(void) { __asm__ volatile("int $0x80" : : "a"(1), "b"(0)); }
static void ready(void)
{
	long r;
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(4), "b"(1), "c"("0\n"), "d"(2) : "memory");
}
#else
static long call(long n, long a, const void *b, long c)
{
	long r;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return r;
}
static long read_byte(char *c) { return call(0, 0, c, 1); }
static void leave(void) { call(231, 0, 0, 0); }
static void ready(void) { call(1, 1, "0\n", 2); }
#endif

void _start(void)
{
	char c;
#ifdef LIBRARY
	value();
#endif
	ready();
	while (read_byte(&c) > 0) { }
	leave();
	for (;;) { }
}
