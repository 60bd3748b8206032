// The library that is patched. Each function says who it is.
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

F int calls(int (*f)(int), int arg) {
	int r = f(arg);
	asm volatile("");
	return r + 1;
}

void set_mine(int v) { mine = v; }

__thread int shared = 3;
F int helper(void) { asm volatile(""); return 3; }

// A variable that programs use directly: they get a copy of it (COPY relocation), which is the library's from then on.
int visible = 20;
F int reads_visible(void) { asm volatile("" : "+m"(visible)); return visible; }
