/* A program of 32 bits that maps a library as the dynamic loader does, and a library for it (LIBRARY). Neither needs a C library
   of 32 bits. It says that it is ready, at once and for each byte of its input, and ends with that. */
#ifdef LIBRARY
int one(void) { return 1; }
#else
static int call(int n, int a, const void *b, int c)
{
	int r;
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(n), "b"(a), "c"(b), "d"(c) : "memory");
	return r;
}

enum { EXIT = 1, READ = 3, WRITE = 4, OPEN = 5, MMAP = 90 };
enum { LOAD = 1, PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4, PRIVATE = 2, FIXED = 16, ANONYMOUS = 32 };
struct mapping { unsigned addr, len, prot, flags, fd, off; };
struct segment { unsigned type, off, vaddr, paddr, filesz, memsz, flags, align; };

static unsigned map(unsigned addr, unsigned len, int prot, int flags, int fd, unsigned off)
{
	struct mapping m = {addr, len, prot, PRIVATE | flags, fd, off};
	return call(MMAP, (int)&m, 0, 0);
}

static void load(int fd)
{
	static unsigned head[1024];
	call(READ, fd, head, sizeof head);
	struct segment *s = (void *)((char *)head + head[7]);
	unsigned base = map(0, 1 << 20, 0, ANONYMOUS, -1, 0);
	for (int n = head[11] & 0xffff; n > 0; n--, s++) {
		unsigned in = s->vaddr & 4095;
		int prot = (s->flags & 1 ? PROT_EXEC : 0) | (s->flags & 2 ? PROT_WRITE : 0) | PROT_READ;
		if (s->type == LOAD)
			map(base + s->vaddr - in, s->filesz + in, prot, FIXED, fd, s->off - in);
	}
}

__asm__(".globl _start\n_start: mov %esp, %eax\n call begin");

__attribute__((regparm(1), used)) static void begin(int *stack)
{
	char c;
	load(call(OPEN, stack[2], 0, 0)); // argv[1]
	do
		call(WRITE, 1, "ready\n", 6);
	while (call(READ, 0, &c, 1) > 0);
	call(EXIT, 0, 0, 0);
}
#endif
