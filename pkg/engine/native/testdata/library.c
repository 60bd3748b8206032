// The library that is patched. Each function says who it is.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define F __attribute__((noinline, noclone))

static int secret = 5;
static __thread int mine = 7;

F int first(void) { asm volatile(""); return 1; }
F int second(void) { asm volatile(""); return 1; }
F int reads_secret(void) { asm volatile("" : "+m"(secret)); return secret; }
F int reads_mine(void) { asm volatile("" : "+m"(mine)); return mine; }
F const char *text(char *to) { return strcpy(to, "original"); }

// blocks in a read until a byte comes.
F int blocks(int fd) {
	char c = 0;
	if (read(fd, &c, 1) < 0)
		return -1;
	asm volatile("" ::: "memory");
	return 1;
}

// calls back at the bottom of a deep recursion.
F int deep(int depth, int (*f)(int), int arg) {
	volatile char room[256];
	room[0] = 1;
	if (depth == 0)
		return f(arg);
	return deep(depth - 1, f, arg) + room[0] - 1;
}

#if !defined COLD
F int calls(int (*f)(int), int arg) {
	int r = f(arg);
	asm volatile("");
	return r + 1;
}
#else // the call is in a part that the compiler puts elsewhere
__attribute__((cold, noinline)) static void rarely(void) { asm volatile("" ::: "memory"); }
#if COLD == 1 // which jumps back
F int calls(int (*f)(int), int arg) {
	int r = 0;
	if (arg > 0) {
		rarely();
		r = f(arg);
	}
	secret += 0 * r;
	asm volatile("" : "+m"(secret));
	return r + 1;
}
#elif COLD == 2 // which returns by itself
F int calls(int (*f)(int), int arg) {
	if (arg > 0) {
		rarely();
		return f(arg) + 1;
	}
	return secret;
}
#elif COLD == 4 // no part, but another function
static F int forwards(int (*f)(int), int arg) { int r = f(arg); asm volatile(""); return r + 1; }
int forwarded(int (*f)(int), int arg) { return forwards(f, arg) + 1; }
F int calls(int (*f)(int), int arg) { return forwards(f, arg + secret - 5); }
#elif COLD == 5 // where nothing but a jump table leads, and which ends the thread
F int calls(int (*f)(int), int arg) {
	switch (arg & 7) {
	case 0: return secret + 7;
	case 1: return secret * 3;
	case 2: secret++; return 2;
	case 6: secret--; return 4;
	case 7: return mine;
	}
	rarely();
	f(arg);
	pthread_exit(0);
}
#else // where a jump table leads
F int calls(int (*f)(int), int arg) {
	switch (arg & 0xf0000000 ? 8 : arg > 2 && arg < 1 << 20 ? 4 : arg & 7) {
	case 0: return secret + 7;
	case 1: return secret * 3;
	case 2: secret++; return 2;
	case 3: return mine;
	case 4: rarely(); return f(arg) + 1;
	case 5: secret--; return 4;
	case 6: rarely(); abort();
	}
	return 0;
}
#endif
#endif

void set_mine(int v) { mine = v; }

__thread int shared = 3;
F int helper(void) { asm volatile(""); return 3; }

// A variable that programs use directly: they get a copy of it (COPY relocation), which is the library's from then on.
int visible = 20;
F int reads_visible(void) { asm volatile("" : "+m"(visible)); return visible; }
