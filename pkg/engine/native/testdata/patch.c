// A live patch for library.c.
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef ANSWER
#define ANSWER 2
#endif

int *ulpr_secret;
struct tls_index { unsigned long module, offset; } ulpr_mine;
void *__tls_get_addr(struct tls_index *);

static int counter = ANSWER;
static int *volatile pointer = &counter; // a relative relocation
static int bss[1000];

int first_lp(void) { return *pointer; }
int second_lp(void) { bss[7] = ANSWER; return bss[7]; }
int reads_secret_lp(void) { return *ulpr_secret + 100; }
int reads_mine_lp(void) { return *(int *)__tls_get_addr(&ulpr_mine) + 100; }

const char *text_lp(char *to) {
	static char word[64] = "patched";
	char *volatile copy = malloc(64);
	size_t n = strlen(word) + 1; // an IFUNC of libc
	asm volatile("" : "+r"(n));
	memcpy(copy, word, n); // another
	memmove(to, copy, n);
	free(copy);
	errno = 0;
	return to;
}

int blocks_lp(int fd) {
	char c = 0;
	if (read(fd, &c, 1) < 0)
		return -1;
	asm volatile("" ::: "memory");
	return ANSWER;
}

#ifdef HANDLER // which is found without the unwinder
static void handler(void *to) { *(int *)to = 4711; }
int calls_lp(int (*f)(int), int arg) {
	int r;
	pthread_cleanup_push(handler, &counter);
	r = f(arg);
	pthread_cleanup_pop(0);
	return r + 10;
}
#else
int calls_lp(int (*f)(int), int arg) {
	int r = f(arg);
	asm volatile("");
	return r + 10;
}
#endif

int deep_lp(int depth, int (*f)(int), int arg) {
	volatile char room[256];
	room[0] = 1;
	if (depth == 0)
		return f(arg) + 10;
	return deep_lp(depth - 1, f, arg) + room[0] - 1;
}
